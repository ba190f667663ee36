"""HandLift: a floating Shadow hand picks an object off the table and holds it more than 10 cm above its rest height."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from embodkd.envs.geometry import matrix_from_quat, unrotate
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.spec import Group, TaskSpec
from embodkd.envs.task import BatchTask

from embodkd.core.config.schema import build

# object offset (m), object yaw (rad)
RANDOMNESS = {"low": (0.01, np.radians(30)), "medium": (0.04, np.pi), "high": (0.12, np.pi)}
MAX_STEPS = 75
CONTROL_HZ = 25.0
LIFT = 0.1  # m above rest: success
PALM_HEIGHT = 0.1  # m above the table at the start
REACHED = 0.04  # m from a fingertip to the object's centre that counts as there
FAILURES = ("none", "not_lifted", "dropped", "out_of_reach")


class HandLift(BatchTask):
    """Object and hand are free; where the object lies is unknown to a deployed robot.

    Success: the object's centre is more than 10 cm above its rest height at the last step.  An episode that fails is
    "out_of_reach" when the object left the table's middle, "dropped" when it had been 5 cm high, "not_lifted"
    otherwise.  ``randomness`` is where the object may start: within 1, 4 or 12 cm, yaw within 30 degrees or any.
    Actions: 20 finger goals, six deltas of the base (see ``ShadowHand``).
    """

    def __init__(
        self,
        num_envs: int,
        engine: str = "mujoco",
        threads: int = 0,
        *,
        object: Literal["box", "cylinder", "sphere"] = "box",
        randomness: Literal["low", "medium", "high"] = "medium",
        reward: Literal["dense", "sparse"] = "dense",
        image_size: int = 48,
        randomise: dict[str, float] | None = None,
    ) -> None:
        if engine != "mujoco":
            raise ValueError(f"task hand_lift has no engine {engine!r}; choose mujoco")
        from embodkd.envs.tasks.hand_lift_scene import OBJECTS, HandWorld

        for option, value, choices in (
            ("object", object, OBJECTS),
            ("randomness", randomness, RANDOMNESS),
            ("reward", reward, ("dense", "sparse")),
        ):
            if value not in choices:
                raise ValueError(f"task hand_lift.{option} is {value!r}; choose one of {', '.join(choices)}")
        self.world = HandWorld(
            num_envs,
            threads=threads,
            shape=object,
            image_size=image_size,
            randomise=build(Randomise, randomise, "task.randomise"),
        )
        hand = self.world.robot
        super().__init__(num_envs, hand.action_size)
        self._dense = reward == "dense"
        self._reach, self._turn = RANDOMNESS[randomness]
        self._highest_N = np.zeros(num_envs)
        # forces belong to the last substep and are not part of a simulator's state: kept here so that they survive it
        self._felt_NF = np.zeros((num_envs, 31))
        self._contacts_N6 = np.zeros((num_envs, 6))
        groups = [
            Group(
                "proprio",
                (117,),
                False,
                "rad, rad/s, m, rad, m/s, rad/s, Nm, N, Nm, N, -",
                "joint angles and speeds, base pose and twist, joint torques, forces of the base, touch, last action",
            ),
            Group(
                "privileged",
                (37,),
                True,
                "m, -, m/s, rad/s, m, -, m",
                "object pose and twist in the palm's frame, from fingertips to object, contacts, height above rest",
            ),
            *self.world.camera_groups,
        ]
        self.observers = {"proprio": self._proprio, "privileged": self._privileged}
        self.observers |= {g.name: partial(self.world.look, g.name) for g in self.world.camera_groups}
        self.spec = TaskSpec(
            "hand_lift",
            engine,
            {g.name: g for g in groups},
            hand.action_size,
            CONTROL_HZ,
            MAX_STEPS,
            FAILURES,
            {
                "object": object,
                "randomness": randomness,
                "reward": reward,
                "image_size": image_size,
                "randomise": dict(randomise or {}),
            },
        )

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        draw = self.uniform(seeds, "object", 3)
        thing = np.zeros((len(ids), 3))
        thing[:, :2] = self._reach * draw[:, :2] + [0.03, 0.01]
        thing[:, 2] = self.world.rest_height
        start = self.uniform(seeds, "start", 6)
        position = np.array([0.0, 0.0, PALM_HEIGHT]) + 0.005 * start[:, :3]
        self.world.place(ids, seeds, position, 0.05 * start[:, 3:], thing, self._turn * draw[:, 2])
        self._highest_N[ids] = 0.0
        self._felt_NF[ids] = 0.0
        self._contacts_N6[ids] = 0.0

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        world, hand = self.world, self.world.robot
        world.advance(actions)
        self._felt_NF[:] = np.concatenate([hand.joint_torques, hand.force, world.touch], axis=1)
        self._contacts_N6[:] = world.contacts
        height = self._height()
        np.maximum(self._highest_N, height, out=self._highest_N)
        success = height > LIFT
        away = (np.abs(world.object_position[:, :2]).max(axis=1) > 0.25) | (height < -0.01)
        failure = np.select([success, away, self._highest_N > LIFT / 2], [0, 3, 2], default=1)
        if not self._dense:
            return success.astype(float), failure, success
        return self._dense_reward(actions, height, success), failure, success

    def _dense_reward(self, actions: np.ndarray, height: np.ndarray, success: np.ndarray) -> np.ndarray:
        """About 1 at best: fingertips and palm near the object, thumb and two fingers on it, object off the table."""
        away = np.maximum(np.linalg.norm(self._to_object(), axis=2) - REACHED, 0.0)
        # the thumb counts as much as the four fingers together: without it nothing is held
        reach = 0.5 * np.exp(-10 * away[:, 4]) + 0.5 * np.exp(-10 * away[:, :4]).mean(axis=1)
        palm = np.exp(-15 * np.linalg.norm(self._palm_offset(), axis=1))
        thumb, fingers = self._contacts_N6[:, 4], self._contacts_N6[:, :4].sum(axis=1)
        held = thumb * (fingers >= 2)
        touching = 0.3 * thumb + 0.15 * np.minimum(fingers, 2) + 0.4 * held
        # the object's lowest point, so that tilting it on the table earns nothing; steep in the first centimetres
        clear = np.maximum(self.world.clearance, 0.0)
        lifted = 1.5 * np.tanh(clear / 0.03) + 2.5 * np.clip(clear / (1.2 * LIFT), 0, 1)
        # with an object in hand the wish to go up is paid at once: while the policy still comes down, a small rise is
        # undone in the next step and would teach nothing
        rising = np.clip((self.world.robot.position[:, 2] - 0.05) / (1.2 * LIFT), 0, 1) + 0.3 * actions[:, 22]
        gain = (
            0.3 * reach + 0.2 * palm + 0.5 * touching + np.maximum(held, 0.5) * lifted + held * rising + 2.0 * success
        )
        return (gain - 0.05 * np.square(actions).mean(axis=1)) / 8

    def _height(self) -> np.ndarray:
        return self.world.object_position[:, 2] - self.world.rest_height

    def _palm_offset(self) -> np.ndarray:
        return self.world.object_position - self.world.palm_position

    def _to_object(self) -> np.ndarray:
        """From each fingertip to the object's centre, world axes, (N, 5, 3)."""
        return self.world.object_position[:, None] - self.world.tips

    def _proprio(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        hand = self.world.robot
        parts = (
            hand.joints,
            0.2 * hand.joint_speeds,
            hand.position,
            hand.rotvec,
            hand.twist,
            self._felt_NF,
            self.last_action,
        )
        return np.concatenate([part[rows] for part in parts], axis=1).astype(np.float32)

    def _privileged(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        world = self.world
        palm = world.palm_rotation[rows]
        turn = np.swapaxes(palm, 1, 2) @ matrix_from_quat(world.object_quat[rows])
        twist = world.object_twist[rows]
        tips = np.einsum("nji,nkj->nki", palm, self._to_object()[rows])
        parts = (
            unrotate(palm, self._palm_offset()[rows]),
            turn[:, :, 0],
            turn[:, :, 2],
            unrotate(palm, twist[:, :3]),
            twist[:, 3:],
            tips.reshape(len(tips), -1),
            self._contacts_N6[rows],
            self._height()[rows, None],
        )
        return np.concatenate(parts, axis=1).astype(np.float32)

    def render(
        self, ids: np.ndarray | None = None, size: tuple[int, int] = (240, 320), camera: str = "overview"
    ) -> np.ndarray:
        """Pictures of some copies for people, uint8 (n, H, W, 3)."""
        return self.world.render(ids, size, camera)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit; the smoothed targets are among the simulator's controls."""
        own = {"highest": self._highest_N.copy(), "felt": self._felt_NF.copy(), "contacts": self._contacts_N6.copy()}
        return super().state_dict() | own | {f"world/{k}": v for k, v in self.world.state_dict().items()}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        super().load_state_dict(arrays)
        self._highest_N[:], self._felt_NF[:] = arrays["highest"], arrays["felt"]
        self._contacts_N6[:] = arrays["contacts"]
        self.world.load_state_dict({k.removeprefix("world/"): v for k, v in arrays.items() if k.startswith("world/")})

    def close(self) -> None:
        """Free the engine."""
        self.world.close()

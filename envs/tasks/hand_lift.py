"""HandLift: a floating Shadow hand picks an object off the table and holds it more than 10 cm above its rest height."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec, rotvec_about_z, unrotate
from embodkd.envs.randomise import Randomised
from embodkd.envs.robot import FORCE, POSITION, ROTVEC, SHORTEST, TWIST
from embodkd.envs.sim.robots.hand import JOINTS
from embodkd.envs.spec import Column, Group
from embodkd.envs.tasks.hand_lift_scene import HandWorld
from embodkd.envs.tasks.world_task import WorldTask

from embodkd.core.config.ranges import Copies, Count, Pixels, Threads

# object offset (m), object yaw (rad)
RANDOMNESS = {"low": (0.01, np.radians(30)), "medium": (0.04, np.pi), "high": (0.12, np.pi)}
LIFT = 0.1  # m above rest: success
PALM_HEIGHT = 0.1  # m above the table at the start
REACHED = 0.04  # m from a fingertip to the object's centre that counts as there
PROPRIO = Group.of(
    "proprio",
    Column("angle of each joint", JOINTS, "rad"),
    Column("speed of each joint", JOINTS, "5 rad/s"),
    POSITION,
    ROTVEC,
    *TWIST,
    Column("torque of each finger's and wrist's actuator", 20, "Nm"),
    *FORCE,
    Column("touch of each fingertip", 5, "N"),
    Column("last action", 26, "-"),
    privileged=False,
)
PRIVILEGED = Group.of(
    "privileged",
    Column("from the palm to the object", 3, "m", "palm"),
    Column("x axis of the object", 3, "-", "palm"),
    Column("z axis of the object", 3, "-", "palm"),
    Column("velocity of the object", 3, "m/s", "palm"),
    Column("angular velocity of the object", 3, "rad/s", "palm"),
    Column("from each fingertip to the object", 15, "m", "palm"),
    Column("whether each finger and the palm touch the object", 6, "-"),
    Column("height of the object above rest", 1, "m", "world"),
    privileged=True,
)


class HandLift(WorldTask):
    """Object and hand are free; where the object lies is unknown to a deployed robot.

    Success: the object's centre is more than 10 cm above its rest height at the last step.  An episode that fails is
    "out_of_reach" when the object left the table's middle, "dropped" when it had been 5 cm high, "not_lifted"
    otherwise.  ``randomness`` is where the object may start: within 1, 4 or 12 cm, yaw within 30 degrees or any.
    Actions: 20 finger goals, six deltas of the base (see ``ShadowHand``).
    """

    name = "hand_lift"
    failures = ("none", "not_lifted", "dropped", "out_of_reach")
    control_hz = 25.0
    max_steps = 75
    changes = (
        f"{SHORTEST}; the object's angular velocity is along the palm's axes, not along its own; a start with the "
        "object before the wrist camera's near plane is drawn again",
    )
    # forces belong to the last substep and are not part of a simulator's state: kept so that a resume has them
    keeps = {"highest": "_highest_N", "felt": "_felt_NF", "contacts": "_contacts_N6"}
    world: HandWorld

    def __init__(
        self,
        num_envs: Copies,
        engine: str = "mujoco",
        threads: Threads = 0,
        *,
        object: Literal["box", "cylinder", "sphere"] = "box",
        randomness: Literal["low", "medium", "high"] = "medium",
        reward: Literal["dense", "sparse"] = "dense",
        image_size: Pixels = 48,
        randomise: Randomised = None,
        max_steps: Count | None = None,
    ) -> None:
        self._dense = reward == "dense"
        self._reach, self._turn = RANDOMNESS[randomness]
        options = {
            "object": object,
            "randomness": randomness,
            "reward": reward,
            "image_size": image_size,
            "randomise": randomise,
            "max_steps": max_steps,
        }
        groups = {PROPRIO: self._proprio, PRIVILEGED: self._privileged}
        super().__init__(num_envs, engine, threads, options, groups, shape=object)
        self._highest_N, self._felt_NF = np.zeros(num_envs), np.zeros((num_envs, 31))
        self._contacts_N6 = np.zeros((num_envs, 6))

    @staticmethod
    def scene(engine: str) -> Callable[..., HandWorld]:
        """The world of this task on an engine."""
        return HandWorld

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        draw = self.uniform(seeds, "object", 3)
        thing = np.zeros((len(ids), 3))
        thing[:, :2] = self._reach * draw[:, :2] + [0.03, 0.01]
        thing[:, 2] = self.world.rest_height
        start = self.uniform(seeds, "start", 6)
        position = np.array([0.0, 0.0, PALM_HEIGHT]) + 0.005 * start[:, :3]
        self.world.start(ids, seeds)
        self.world.put("object", ids, thing, quat_from_rotvec(rotvec_about_z(self._turn * draw[:, 2])))
        self.world.robot.place(ids, position, 0.05 * start[:, 3:])
        self.world.settle(ids)
        self._highest_N[ids], self._felt_NF[ids], self._contacts_N6[ids] = 0.0, 0.0, 0.0

    def _unfit(self, ids: np.ndarray) -> np.ndarray:
        return self.world.blinded(ids)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        world, hand = self.world, self.world.robot
        world.advance(actions)
        self._felt_NF[:] = np.concatenate([hand.joint_torques, hand.force, world.touch], axis=1)
        self._contacts_N6[:] = world.contacts
        height = self._height()
        np.maximum(self._highest_N, height, out=self._highest_N)
        success = height > LIFT
        away = (np.abs(world.position("object")[:, :2]).max(axis=1) > 0.25) | (height < -0.01)
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
        return self.world.position("object")[:, 2] - self.world.rest_height

    def _palm_offset(self) -> np.ndarray:
        return self.world.position("object") - self.world.palm_position

    def _to_object(self) -> np.ndarray:
        """From each fingertip to the object's centre, world axes, (N, 5, 3)."""
        return self.world.position("object")[:, None] - self.world.tips

    def _proprio(self) -> tuple[np.ndarray, ...]:
        hand = self.world.robot
        moves = hand.position, hand.rotvec, hand.twist
        return hand.joints, hand.joint_speeds / 5, *moves, self._felt_NF, self.last_action

    def _privileged(self) -> tuple[np.ndarray, ...]:
        palm, twist = self.world.palm_rotation, self.world.object_twist
        turn = np.swapaxes(palm, 1, 2) @ matrix_from_quat(self.world.object_quat)
        tips = np.einsum("nji,nkj->nki", palm, self._to_object())
        return (
            unrotate(palm, self._palm_offset()),
            turn[:, :, 0],
            turn[:, :, 2],
            unrotate(palm, twist[:, :3]),
            unrotate(palm, twist[:, 3:]),
            tips.reshape(len(tips), -1),
            self._contacts_N6,
            self._height()[:, None],
        )

"""HandLift: a floating Shadow hand picks an object off the table and holds it more than 10 cm above its rest height."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, rotvec_about_z
from embodkd.envs.randomise import Randomised
from embodkd.envs.robot import SHORTEST
from embodkd.envs.spec import Column, Group
from embodkd.envs.tasks.hand_lift_scene import HandWorld
from embodkd.envs.tasks.hand_task import IN_HAND, PROPRIO, HandTask

from embodkd.core.config.ranges import Copies, Count, Pixels, Threads

# object offset (m), object yaw (rad)
RANDOMNESS = {"low": (0.01, np.radians(30)), "medium": (0.04, np.pi), "high": (0.12, np.pi)}
LIFT = 0.1  # m above rest: success
PALM_HEIGHT = 0.1  # m above the table at the start
_PROPRIO = Group.of("proprio", *PROPRIO, privileged=False)
_PRIVILEGED = Group.of(
    "privileged", *IN_HAND, Column("height of the object above rest", 1, "m", "world"), privileged=True
)


class HandLift(HandTask):
    """Object and hand are free; where the object lies is unknown to a deployed robot.

    Success: the object's centre is more than 10 cm above its rest height at the last step.  An episode that fails is
    "out_of_reach" when the object left the table's middle, "dropped" when it had been 5 cm high, "not_lifted"
    otherwise.  ``randomness`` is where the object may start: within 1, 4 or 12 cm, yaw within 30 degrees or any.
    Actions: 20 finger goals, six deltas of the base (see ``ShadowHand``).
    """

    name = "hand_lift"
    failures = ("none", "not_lifted", "dropped", "out_of_reach")
    changes = (
        f"{SHORTEST}; the object's angular velocity is along the palm's axes, not along its own; a start with the "
        "object before the wrist camera's near plane is drawn again",
    )
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
        groups = {_PROPRIO: self._proprio, _PRIVILEGED: self._privileged}
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
        self.feel_nothing(ids)
        self._highest_N[ids] = 0.0

    def _unfit(self, ids: np.ndarray) -> np.ndarray:
        return self.world.blinded(ids)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        world = self.world
        world.advance(actions)
        self.feel()
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
        grip = self.grip()
        # the object's lowest point, so that tilting it on the table earns nothing; steep in the first centimetres
        clear = np.maximum(self.world.clearance, 0.0)
        lifted = 1.5 * np.tanh(clear / 0.03) + 2.5 * np.clip(clear / (1.2 * LIFT), 0, 1)
        # with an object in hand the wish to go up is paid at once: while the policy still comes down, a small rise is
        # undone in the next step and would teach nothing
        rising = np.clip((self.world.robot.position[:, 2] - 0.05) / (1.2 * LIFT), 0, 1) + 0.3 * actions[:, 22]
        held = grip.held
        gain = grip.worth + np.maximum(held, 0.5) * lifted + held * rising + 2.0 * success
        return (gain - 0.05 * np.square(actions).mean(axis=1)) / 8

    def _height(self) -> np.ndarray:
        return self.world.position("object")[:, 2] - self.world.rest_height

    def _privileged(self) -> tuple[np.ndarray, ...]:
        return *self._in_hand(), self._height()[:, None]

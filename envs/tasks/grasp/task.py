"""Grasp: a floating Shadow hand takes an object that it may never have seen and holds it at a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotvec_about_z, unrotate
from embodkd.envs.randomise import Randomised
from embodkd.envs.spec import Column, Group
from embodkd.envs.tasks.grasp import codes
from embodkd.envs.tasks.grasp.library import Split, library
from embodkd.envs.tasks.grasp.resting import DROPS
from embodkd.envs.tasks.grasp.scene import TARGET, GraspWorld
from embodkd.envs.tasks.hand_scene import OBJECT
from embodkd.envs.tasks.hand_task import IN_HAND, PROPRIO, HandTask

from embodkd.core.config.ranges import Copies, Count, Pixels, Threads

RANDOMNESS = {"low": 0.02, "medium": 0.05, "high": 0.1}  # m: how far from the middle an object starts, x and y
MIDDLE = (0.03, 0.01)  # m: below the palm at the start
PALM_HEIGHT = 0.21  # m above the table at the start: clear of all that stands there
TARGETS = ((-0.08, -0.08, 0.12), (0.1, 0.08, 0.2))  # m: where the object's centre shall be
NEAR = 0.05  # m from the target that counts as there
HOLD = 8  # steps in a row
LIFTED = 0.03  # m above rest: off the table for good
_PROPRIO = Group.of("proprio", *PROPRIO, Column("from the tool to the target", 3, "m", "tool"), privileged=False)
_PRIVILEGED = Group.of(
    "privileged",
    *IN_HAND,
    Column("height of the object above rest", 1, "m", "world"),
    Column("from the object to the target", 3, "m", "palm"),
    Column("whether the object touches the table", 1, "-"),
    Column("how far the object reaches along each axis and against it", 6, "m", "palm"),
    Column(f"distance of {codes.SIZE} fixed points from the object's surface", codes.SIZE, "m"),
    privileged=True,
)


class Grasp(HandTask):
    """Every episode has another object of a ``split`` of ``objects``, lying as it comes to rest, with any yaw.

    Success: the object's centre has been within 5 cm of the target in the last 8 steps.  An episode that fails is
    "diverged" when the simulation of its copy left the numbers (it began again by itself, and counts as failed),
    "out_of_reach" when the object left the table's middle, "dropped" when it had been 3 cm high and no longer is,
    "not_at_target" when it is that high, "not_lifted" otherwise.  ``randomness`` is where the object may start: within
    2, 5 or 10 cm.  ``only`` names classes or objects.  Actions: see ``HandTask``.
    """

    name = "grasp"
    failures = ("none", "not_lifted", "dropped", "not_at_target", "out_of_reach", "diverged")
    keeps = {
        "highest": "_highest_N",
        "felt": "_felt_NF",
        "contacts": "_contacts_N6",
        "on_table": "_on_table_N",
        "rest": "_rest_N",
        "target": "target_N3",
        "which": "which_N",
        "there": "_there_N",
        "restarts": "restarts_N",
    }
    world: GraspWorld

    def __init__(
        self,
        num_envs: Copies,
        engine: str = "mujoco",
        threads: Threads = 0,
        *,
        objects: str = "primitives",
        split: Split = "seen",
        only: tuple[str, ...] = (),
        randomness: Literal["low", "medium", "high"] = "high",
        reward: Literal["dense", "sparse"] = "dense",
        image_size: Pixels = 48,
        randomise: Randomised = None,
        max_steps: Count | None = None,
    ) -> None:
        self.library = library(objects)
        self.pool = self.library.pool(split, only)
        self._dense, self._reach = reward == "dense", RANDOMNESS[randomness]
        options = {
            "objects": objects,
            "split": split,
            "only": tuple(only),
            "randomness": randomness,
            "reward": reward,
            "image_size": image_size,
            "randomise": randomise,
            "max_steps": max_steps,
        }
        groups = {_PROPRIO: self._proprio, _PRIVILEGED: self._privileged}
        super().__init__(num_envs, engine, threads, options, groups, library=self.library)
        self._highest_N, self._rest_N, self._felt_NF = np.zeros(num_envs), np.zeros(num_envs), np.zeros((num_envs, 31))
        self._contacts_N6, self._on_table_N = np.zeros((num_envs, 6)), np.zeros(num_envs)
        self.target_N3 = np.zeros((num_envs, 3))
        self._there_N, self.restarts_N = np.zeros((2, num_envs), np.int64)

    @staticmethod
    def scene(engine: str) -> Callable[..., GraspWorld]:
        """The world of this task on an engine."""
        return GraspWorld

    @property
    def which_N(self) -> np.ndarray:
        """Which row of the library each copy has."""
        return self.world.slots.held_N

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        self._begin(ids, seeds)
        self.restarts_N[ids] = 0

    def _begin(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        what = self.uniform(seeds, "object", 2, low=0.0)
        place, start = self.uniform(seeds, "place", 3), self.uniform(seeds, "start", 6)
        which = self.pool[(what[:, 0] * len(self.pool)).astype(np.int64)]
        pose = (what[:, 1] * DROPS).astype(np.int64)
        resting = self.library.resting
        height, lying = resting.height[which, pose], resting.quat[which, pose]
        spot = np.concatenate([self._reach * place[:, :2] + MIDDLE, height[:, None]], axis=1)
        low, high = np.array(TARGETS)
        self.target_N3[ids] = low + self.uniform(seeds, "target", 3, low=0.0) * (high - low)
        world = self.world
        world.start(ids, seeds)
        world.slots.take(ids, which)
        turn = quat_from_rotvec(rotvec_about_z(np.pi * place[:, 2]))
        world.put(OBJECT, ids, spot, quat_multiply(turn, lying))
        world.put(TARGET, ids, self.target_N3[ids], np.tile([1.0, 0, 0, 0], (len(ids), 1)))
        world.robot.place(ids, np.array([0.0, 0.0, PALM_HEIGHT]) + 0.005 * start[:, :3], 0.05 * start[:, 3:])
        world.settle(ids)
        self.feel_nothing(ids)
        self._highest_N[ids], self._rest_N[ids], self._there_N[ids] = 0.0, height, 0

    def feel(self) -> None:
        """See ``HandTask``."""
        super().feel()
        self._on_table_N[:] = self.world.on_table

    def feel_nothing(self, ids: np.ndarray) -> None:
        """See ``HandTask``."""
        super().feel_nothing(ids)
        self._on_table_N[ids] = 0.0

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        world = self.world
        world.advance(actions)
        if again := world.diverged:
            lost = np.array(again)
            self.restarts_N[lost] += 1
            self._begin(lost, self.seeds[lost])
        self.feel()
        height, away = self.height_N, np.linalg.norm(self._to_target(), axis=1)
        np.maximum(self._highest_N, height, out=self._highest_N)
        self._there_N[:] = np.where(away < NEAR, self._there_N + 1, 0)
        diverged = self.restarts_N > 0
        success = (self._there_N >= HOLD) & ~diverged
        gone = (np.abs(world.position(OBJECT)[:, :2]).max(axis=1) > 0.25) | (height < -0.02)
        states = [success, diverged, gone, height > LIFTED, self._highest_N > LIFTED]
        failure = np.select(states, [0, 5, 4, 3, 2], default=1)
        if not self._dense:
            return success.astype(float), failure, success
        return self._dense_reward(actions, height, away), failure, success

    def _dense_reward(self, actions: np.ndarray, height: np.ndarray, away: np.ndarray) -> np.ndarray:
        """About 1 at best: the hand has the object, it is off the table, it is at the target."""
        grip = self.grip()
        off = np.clip(height / LIFTED, 0, 1) * (1 - self._on_table_N)
        brought = off * (np.exp(-away / 0.1) + np.exp(-away / 0.03))
        gain = grip.worth + np.maximum(grip.held, 0.5) * (1.5 * off + 2.0 * brought) + 2.0 * (away < NEAR)
        return (gain - 0.05 * np.square(actions).mean(axis=1)) / 8

    @property
    def height_N(self) -> np.ndarray:
        """How far each object's centre is above where it rested, m."""
        return self.world.position(OBJECT)[:, 2] - self._rest_N

    def _to_target(self) -> np.ndarray:
        return self.target_N3 - self.world.position(OBJECT)

    def _proprio(self) -> tuple[np.ndarray, ...]:
        hand = self.world.robot
        return *super()._proprio(), unrotate(hand.rotation, self.target_N3 - hand.position)

    def _privileged(self) -> tuple[np.ndarray, ...]:
        palm = self.world.palm_rotation
        return (
            *self._in_hand(),
            self.height_N[:, None],
            unrotate(palm, self._to_target()),
            self._on_table_N[:, None],
            self.world.reach(palm),
            self.library.code[self.which_N],
        )

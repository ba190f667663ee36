"""PickLift: a Panda picks one of several procedural objects from a table and lifts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from embodkd.envs.geometry import rotvec_about_z, unrotate
from embodkd.envs.randomise import Randomised
from embodkd.envs.robot import POSITION, ROTVEC, SHORTEST, TWIST
from embodkd.envs.spec import Column, Group
from embodkd.envs.tasks.pick_lift_scene import OBJECTS, PickWorld, things
from embodkd.envs.tasks.world_task import WorldTask

from embodkd.core.config.ranges import Copies, Count, Pixels, Threads

if TYPE_CHECKING:
    from embodkd.envs.bullet.pick_lift import BulletPickWorld

# object's place (m) and yaw (rad), each drawn uniformly from minus to plus this
RANDOMNESS = {"low": (0.03, np.radians(15)), "medium": (0.08, np.radians(45)), "high": (0.12, np.radians(90))}
LIFT = 0.20  # m above rest
_SQUEEZE = 5.0  # N, closing force that counts as a firm grasp
PROPRIO = Group.of(
    "proprio",
    POSITION,
    ROTVEC,
    *TWIST,
    Column("opening of each finger", 2, "m"),
    Column("squeeze of each finger", 2, "N"),
    Column("last action", 5, "-"),
    privileged=False,
)
NEAR = 0.02  # m: where "near" is told apart most finely
PRIVILEGED = Group.of(
    "privileged",
    Column("from the tool to the object", 3, "m", "tool"),
    Column(f"the same as tanh(x / {NEAR} m)", 3, "-", "tool"),
    Column("sine and cosine of twice the turn across the object", 2, "-", "tool"),
    Column("lift of the object", 1, "m", "world"),
    Column("velocity of the object", 3, "m/s", "tool"),
    Column("size of the object from smallest to largest", 3, "-"),
    Column("kind of the object", len(OBJECTS), "-"),
    privileged=True,
)


class PickLift(WorldTask):
    """One object per episode, drawn from ``objects`` with its size and weight, lies on the table at a drawn place.

    Success: its centre is at least 20 cm above where it rested, at the last step.  Actions: three translations and the
    turn about the vertical (deltas in the tool's frame), then the fingers from closed (-1) to open (1).
    """

    name = "pick_lift"
    engines = ("mujoco", "bullet")
    failures = ("none", "not_reached", "not_grasped", "not_high_enough")
    control_hz = 1 / 0.048
    max_steps = 60
    changes = (f"{SHORTEST}; its angular velocity is along its own axes",)
    keeps = {"kind": "_kind_N", "scale": "_scale_N3", "rest": "_rest_N"}
    world: PickWorld | BulletPickWorld

    def __init__(
        self,
        num_envs: Copies,
        engine: str = "mujoco",
        threads: Threads = 0,
        *,
        randomness: Literal["low", "medium", "high"] = "medium",
        reward: Literal["dense", "sparse"] = "dense",
        objects: tuple[str, ...] = OBJECTS,
        image_size: Pixels = 48,
        randomise: Randomised = None,
        max_steps: Count | None = None,
    ) -> None:
        if not objects or not set(objects) <= set(OBJECTS):
            raise ValueError(f"task pick_lift.objects is {tuple(objects)}; choose one or more of {', '.join(OBJECTS)}")
        self._dense = reward == "dense"
        self._reach, self._turn = RANDOMNESS[randomness]
        self._choices = np.array([OBJECTS.index(name) for name in objects])
        options = {
            "randomness": randomness,
            "reward": reward,
            "objects": tuple(objects),
            "image_size": image_size,
            "randomise": randomise,
            "max_steps": max_steps,
        }
        groups = {PROPRIO: self._proprio, PRIVILEGED: self._privileged}
        super().__init__(num_envs, engine, threads, options, groups)
        self._kind_N, self._scale_N3 = np.zeros(num_envs, np.int64), np.zeros((num_envs, 3))
        self._rest_N = np.zeros(num_envs)

    @staticmethod
    def scene(engine: str) -> Callable[..., PickWorld | BulletPickWorld]:
        """The world of this task on an engine."""
        if engine == "mujoco":
            return PickWorld
        from embodkd.envs.bullet.pick_lift import BulletPickWorld

        return BulletPickWorld

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        draw = self.uniform(seeds, "object", 8, low=0.0)
        place = self.uniform(seeds, "place", 3)
        start = self.uniform(seeds, "start", 4)
        kind, scale = self._choices[(draw[:, 0] * len(self._choices)).astype(np.int64)], draw[:, 1:4]
        thing = things(kind, scale, 0.05 + 0.15 * draw[:, 4], self._reach * place[:, :2], self._turn * place[:, 2])
        self._kind_N[ids], self._scale_N3[ids], self._rest_N[ids] = kind, scale, thing.rest
        self.world.start(ids, seeds)
        self.world.shape(ids, kind, thing)
        self.world.put("object", ids, thing.position, thing.quat)
        tool = np.array([0.0, 0.0, 0.13]) + 0.015 * start[:, :3]
        self.world.robot.place(ids, tool, rotvec_about_z(np.radians(8) * start[:, 3]))
        self.world.settle(ids)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.world.advance(actions)
        offset = self._offset()
        distance = np.linalg.norm(offset, axis=1)
        between = (np.abs(offset) <= [0.015, 0.02, 0.02]).all(axis=1)
        firm = between * np.clip(self.world.robot.squeeze.min(axis=1) / _SQUEEZE, 0, 1)
        lift = self._lift()
        success = lift >= LIFT
        failure = np.select([success, ~between, firm < 0.5], [0, 1, 2], default=3)
        if not self._dense:
            return success.astype(float), failure, success
        near = np.exp(-distance / 0.1) + np.exp(-distance / 0.02)
        turned = np.exp(-np.abs(self._turn_error()) / 0.2)
        reward = 0.3 * near + 0.1 * turned + 0.5 * firm + 4.0 * between * np.clip(lift / LIFT, 0, 1) + success
        return reward, failure, success

    def _offset(self) -> np.ndarray:
        """The object's centre in the tool's frame, (N, 3)."""
        robot = self.world.robot
        return unrotate(robot.rotation, self.world.position("object") - robot.position)

    def _lift(self) -> np.ndarray:
        return self.world.position("object")[:, 2] - self._rest_N

    def _turn_error(self) -> np.ndarray:
        """Turn about the vertical (rad, within +-pi/2) that brings the fingers across the object; 0 for round ones."""
        rotation = self.world.rotation("object")
        # long axis: a box's first, a capsule's third
        axis = np.where((self._kind_N == OBJECTS.index("capsule"))[:, None], rotation[:, :, 2], rotation[:, :, 0])
        axis = unrotate(self.world.robot.rotation, axis)
        turn = (np.arctan2(axis[:, 1], axis[:, 0]) + np.pi / 2) % np.pi - np.pi / 2
        round_ones = np.isin(self._kind_N, [OBJECTS.index("cylinder"), OBJECTS.index("sphere")])
        return np.where(round_ones, 0.0, turn)

    def _proprio(self) -> tuple[np.ndarray, ...]:
        robot = self.world.robot
        return robot.position, robot.rotvec, robot.twist, robot.fingers, robot.squeeze, self.last_action

    def _privileged(self) -> tuple[np.ndarray, ...]:
        offset, turn = self._offset(), self._turn_error()
        return (
            offset,
            np.tanh(offset / NEAR),
            np.stack([np.sin(2 * turn), np.cos(2 * turn)], 1),
            self._lift()[:, None],
            unrotate(self.world.robot.rotation, self.world.velocity("object")),
            self._scale_N3,
            np.eye(len(OBJECTS))[self._kind_N],
        )

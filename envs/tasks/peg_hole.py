"""PegHole: a 16 mm square peg into a socket with half a millimetre of play on each side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, rotvec_about_z, unrotate
from embodkd.envs.randomise import Randomised
from embodkd.envs.robot import FORCE, POSITION, ROTVEC, SHORTEST, TWIST
from embodkd.envs.spec import Column, Group
from embodkd.envs.tasks.peg_hole_scene import DEPTH, PegWorld
from embodkd.envs.tasks.world_task import WorldTask

from embodkd.core.config.ranges import Copies, Count, Pixels, Threads, Within

if TYPE_CHECKING:
    from embodkd.envs.bullet.peg_hole import BulletPegWorld

# socket offset (m), socket yaw (rad), steps of an episode
RANDOMNESS = {
    "low": (0.01, np.radians(15), 40),
    "medium": (0.03, np.radians(30), 40),
    "high": (0.06, np.radians(90), 60),
}
PROPRIO = Group.of("proprio", POSITION, ROTVEC, *TWIST, *FORCE, Column("last action", 6, "-"), privileged=False)
NEAR = 0.002  # m: where "near" is told apart most finely
PRIVILEGED = Group.of(
    "privileged",
    Column("from the tool to the socket's rim", 3, "m", "tool"),
    Column(f"the same as tanh(x / {NEAR} m)", 3, "-", "tool"),
    Column("sine of the missing tilt", 2, "-", "tool"),
    Column("missing turn about the vertical", 1, "rad", "world"),
    privileged=True,
)


class PegHole(WorldTask):
    """The peg is held by the robot; the socket stands on the table, its place and yaw unknown to a deployed robot.

    Success (card of ResiP): tip within 2 mm of the socket's axis, at least 80 % of the socket's depth, tilt at most 5
    degrees, at the last step.  ``clearance`` is the play per side in metres.  Actions: six pose deltas of the tool.
    """

    name = "peg_hole"
    engines = ("mujoco", "bullet")
    failures = ("none", "not_at_socket", "not_aligned", "not_deep_enough")
    control_hz = 1 / 0.048
    changes = (f"{SHORTEST}; the Panda's angular velocity is along the tool's axes, as the gripper's",)
    # forces belong to the last substep and are not part of a simulator's state: kept so that a resume has them
    keeps = {"socket": "_socket_N3", "yaw": "_yaw_N", "felt": "_felt_N6"}
    world: PegWorld | BulletPegWorld

    def __init__(
        self,
        num_envs: Copies,
        engine: str = "mujoco",
        threads: Threads = 0,
        *,
        robot: Literal["gripper", "panda"] = "gripper",
        randomness: Literal["low", "medium", "high"] = "medium",
        reward: Literal["dense", "sparse"] = "dense",
        clearance: Annotated[float, Within(0.0003, 0.001)] = 0.0005,
        image_size: Pixels = 48,
        randomise: Randomised = None,
        max_steps: Count | None = None,
    ) -> None:
        self._dense = reward == "dense"
        self._reach, self._turn, self.max_steps = RANDOMNESS[randomness]
        options = {
            "robot": robot,
            "randomness": randomness,
            "reward": reward,
            "clearance": clearance,
            "image_size": image_size,
            "randomise": randomise,
            "max_steps": max_steps,
        }
        groups = {PROPRIO: self._proprio, PRIVILEGED: self._privileged}
        super().__init__(num_envs, engine, threads, options, groups, robot=robot, clearance=clearance)
        self._socket_N3, self._yaw_N = np.zeros((num_envs, 3)), np.zeros(num_envs)
        self._felt_N6 = np.zeros((num_envs, 6))
        self._errors: tuple[np.ndarray, np.ndarray] | None = None

    @staticmethod
    def scene(engine: str) -> Callable[..., PegWorld | BulletPegWorld]:
        """The world of this task on an engine."""
        if engine == "mujoco":
            return PegWorld
        from embodkd.envs.bullet.peg_hole import BulletPegWorld

        return BulletPegWorld

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        socket = self.uniform(seeds, "socket", 3)
        self._socket_N3[ids, :2] = self._reach * socket[:, :2]
        self._yaw_N[ids] = self._turn * socket[:, 2]
        self._felt_N6[ids] = 0.0
        start = self.uniform(seeds, "start", 6)
        position = np.array([0.0, 0.0, DEPTH + 0.025]) + 0.01 * start[:, :3]
        rotvec = start[:, 3:] * [0.03, 0.03, np.radians(8)]
        self.world.start(ids, seeds)
        self.world.put("socket", ids, self._socket_N3[ids], quat_from_rotvec(rotvec_about_z(self._yaw_N[ids])))
        self.world.robot.place(ids, position, rotvec)
        self.world.settle(ids)
        self._errors = None

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """See ``BatchTask``."""
        super().load_state_dict(arrays)
        self._errors = None

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.world.advance(actions)
        self._errors = None
        self._felt_N6[:] = self.world.robot.force
        offset, turn = self._offset_and_turn()
        sideways, tilt = np.hypot(offset[:, 0], offset[:, 1]), np.hypot(turn[:, 0], turn[:, 1])
        yaw, depth = np.abs(turn[:, 2]), DEPTH - self.world.robot.position[:, 2]
        at_socket, aligned, deep = sideways <= 0.002, tilt <= np.radians(5), depth >= 0.8 * DEPTH
        success = at_socket & aligned & deep
        failure = np.where(success, 0, np.where(at_socket, np.where(aligned, 3, 2), 1))
        if not self._dense:
            return success.astype(float), failure, success
        near = np.exp(-sideways / 0.01) + np.exp(-sideways / 0.002)
        inside = np.clip(depth / DEPTH, 0, 1) * (sideways < 0.004)
        reward = 0.3 * near + 0.2 * np.exp(-yaw / 0.1) + 0.1 * np.exp(-tilt / 0.1) + 2.0 * inside + success
        return reward, failure, success

    def _offset_and_turn(self) -> tuple[np.ndarray, np.ndarray]:
        """``_offset`` and ``_rotation_error``, worked out once for reward and observation of the same state."""
        if self._errors is None:
            self._errors = self._offset(), self._rotation_error()
        return self._errors

    def _offset(self) -> np.ndarray:
        """The middle of the socket's rim, seen from the tool point in world axes, (N, 3)."""
        return self._socket_N3 + [0, 0, DEPTH] - self.world.robot.position

    def _rotation_error(self) -> np.ndarray:
        """From the tool to the nearest of the socket's four equal orientations, (N, 3): sine of the tilt about the
        tool's x and y, turn about the vertical in rad."""
        rotation = self.world.robot.rotation
        error = np.empty((len(rotation), 3))
        # the tool's axis should be (0, 0, 1); its cross product with that, (y, -x, 0), is the rotation that is missing
        x, y = rotation[:, 0, 2], rotation[:, 1, 2]
        error[:, 0] = rotation[:, 0, 0] * y - rotation[:, 1, 0] * x
        error[:, 1] = rotation[:, 0, 1] * y - rotation[:, 1, 1] * x
        yaw = self._yaw_N - np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
        error[:, 2] = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
        return error

    def _proprio(self) -> tuple[np.ndarray, ...]:
        robot = self.world.robot
        return robot.position, robot.rotvec, robot.twist, self._felt_N6, self.last_action

    def _privileged(self) -> tuple[np.ndarray, ...]:
        offset, turn = self._offset_and_turn()
        seen = unrotate(self.world.robot.rotation, offset)
        return seen, np.tanh(seen / NEAR), turn

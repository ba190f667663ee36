"""PegHole: a 16 mm square peg into a socket with half a millimetre of play on each side."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from embodkd.envs.geometry import unrotate
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.spec import Group, TaskSpec
from embodkd.envs.task import BatchTask
from embodkd.envs.tasks.peg_hole_scene import DEPTH, PegWorld

from embodkd.core.config.schema import build

if TYPE_CHECKING:
    from embodkd.envs.bullet.peg_hole import BulletPegWorld

# socket offset (m), socket yaw (rad), steps of an episode
RANDOMNESS = {
    "low": (0.01, np.radians(15), 40),
    "medium": (0.03, np.radians(30), 40),
    "high": (0.06, np.radians(90), 60),
}
CONTROL_HZ = 1 / 0.048
FAILURES = ("none", "not_at_socket", "not_aligned", "not_deep_enough")


class PegHole(BatchTask):
    """The peg is held by the robot; the socket stands on the table, its place and yaw unknown to a deployed robot.

    Success (card of ResiP): tip within 2 mm of the socket's axis, at least 80 % of the socket's depth, tilt at most 5
    degrees, at the last step.  ``clearance`` is the play per side in metres.  Actions: six pose deltas of the tool.
    """

    def __init__(
        self,
        num_envs: int,
        engine: str = "mujoco",
        threads: int = 0,
        *,
        robot: Literal["gripper", "panda"] = "gripper",
        randomness: Literal["low", "medium", "high"] = "medium",
        reward: Literal["dense", "sparse"] = "dense",
        clearance: float = 0.0005,
        image_size: int = 48,
        randomise: dict[str, float] | None = None,
    ) -> None:
        if not 0.0003 <= clearance <= 0.001:
            raise ValueError(f"task peg_hole.clearance is {clearance} m; choose 0.0003 to 0.001 m per side")
        if randomness not in RANDOMNESS:
            raise ValueError(f"task peg_hole.randomness is {randomness!r}; choose one of {', '.join(RANDOMNESS)}")
        self.world = _world_of(engine)(
            num_envs,
            threads=threads,
            robot=robot,
            clearance=clearance,
            image_size=image_size,
            randomise=build(Randomise, randomise, "task.randomise"),
        )
        super().__init__(num_envs, action_size=6)
        self._dense = reward == "dense"
        self._reach, self._turn, max_steps = RANDOMNESS[randomness]
        self._socket_N3 = np.zeros((num_envs, 3))
        self._yaw_N = np.zeros(num_envs)
        # forces belong to the last substep and are not part of a simulator's state: kept so that a resume has them
        self._felt_N6 = np.zeros((num_envs, 6))
        groups = [
            Group(
                "proprio",
                (24,),
                False,
                "m, rad, m/s, rad/s, N, Nm, -",
                "tool pose, twist, controller forces, last action",
            ),
            Group(
                "privileged",
                (9,),
                True,
                "m, -, rad",
                "socket in the tool's frame, the same near zero, rotation error",
            ),
            *self.world.camera_groups,
        ]
        self.observers = {"proprio": self._proprio, "privileged": self._privileged}
        self.observers |= {g.name: partial(self.world.look, g.name) for g in self.world.camera_groups}
        self.spec = TaskSpec(
            "peg_hole",
            engine,
            {g.name: g for g in groups},
            6,
            CONTROL_HZ,
            max_steps,
            FAILURES,
            {
                "robot": robot,
                "randomness": randomness,
                "reward": reward,
                "clearance": clearance,
                "image_size": image_size,
                "randomise": dict(randomise or {}),
            },
        )

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        socket = self.uniform(seeds, "socket", 3)
        self._socket_N3[ids, :2] = self._reach * socket[:, :2]
        self._yaw_N[ids] = self._turn * socket[:, 2]
        self._felt_N6[ids] = 0.0
        start = self.uniform(seeds, "start", 6)
        position = np.array([0.0, 0.0, DEPTH + 0.025]) + 0.01 * start[:, :3]
        rotvec = start[:, 3:] * [0.03, 0.03, np.radians(8)]
        self.world.place(ids, seeds, position, rotvec, self._socket_N3[ids], self._yaw_N[ids])

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.world.advance(actions)
        self._felt_N6[:] = self.world.robot.force
        offset, turn = self._offset(), self._rotation_error()
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

    def _offset(self) -> np.ndarray:
        """The middle of the socket's rim, seen from the tool point in world axes, (N, 3)."""
        return self._socket_N3 + [0, 0, DEPTH] - self.world.robot.position

    def _rotation_error(self) -> np.ndarray:
        """Tilt (x, y) and yaw from the tool to the nearest of the socket's four equal orientations, rad, (N, 3)."""
        rotation = self.world.robot.rotation
        error = np.empty((len(rotation), 3))
        # the tool's axis should be (0, 0, 1); its cross product with that, (y, -x, 0), is the rotation that is missing
        x, y = rotation[:, 0, 2], rotation[:, 1, 2]
        error[:, 0] = rotation[:, 0, 0] * y - rotation[:, 1, 0] * x
        error[:, 1] = rotation[:, 0, 1] * y - rotation[:, 1, 1] * x
        yaw = self._yaw_N - np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
        error[:, 2] = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
        return error

    def _proprio(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        robot = self.world.robot
        parts = (robot.position, robot.rotvec, robot.twist, self._felt_N6, self.last_action)
        return np.concatenate([part[rows] for part in parts], axis=1).astype(np.float32)

    def _privileged(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        offset = unrotate(self.world.robot.rotation, self._offset())
        parts = (offset, np.tanh(offset / 0.002), self._rotation_error())
        return np.concatenate(parts, axis=1)[rows].astype(np.float32)

    def render(
        self, ids: np.ndarray | None = None, size: tuple[int, int] = (240, 320), camera: str = "overview"
    ) -> np.ndarray:
        """Pictures of some copies for people, uint8 (n, H, W, 3)."""
        return self.world.render(ids, size, camera)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        own = {"socket": self._socket_N3.copy(), "yaw": self._yaw_N.copy(), "felt": self._felt_N6.copy()}
        return super().state_dict() | own | {f"world/{k}": v for k, v in self.world.state_dict().items()}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        super().load_state_dict(arrays)
        self._socket_N3[:], self._yaw_N[:], self._felt_N6[:] = arrays["socket"], arrays["yaw"], arrays["felt"]
        self.world.load_state_dict({k.removeprefix("world/"): v for k, v in arrays.items() if k.startswith("world/")})

    def close(self) -> None:
        """Free the engine."""
        self.world.close()


def _world_of(engine: str) -> Callable[..., PegWorld | BulletPegWorld]:
    if engine == "mujoco":
        return PegWorld
    if engine == "bullet":
        from embodkd.envs.bullet.peg_hole import BulletPegWorld

        return BulletPegWorld
    raise ValueError(f"task peg_hole has no engine {engine!r}; choose mujoco or bullet")

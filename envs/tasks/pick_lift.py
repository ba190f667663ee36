"""PickLift: a Panda picks one of several procedural objects from a table and lifts it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from embodkd.envs.geometry import unrotate
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.spec import Group, TaskSpec
from embodkd.envs.task import BatchTask
from embodkd.envs.tasks.pick_lift_scene import OBJECTS, PickWorld

from embodkd.core.config.schema import build

if TYPE_CHECKING:
    from embodkd.envs.bullet.pick_lift import BulletPickWorld

# object's place (m) and yaw (rad), each drawn uniformly from minus to plus this
RANDOMNESS = {"low": (0.03, np.radians(15)), "medium": (0.08, np.radians(45)), "high": (0.12, np.radians(90))}
LIFT = 0.20  # m above rest
MAX_STEPS = 60
CONTROL_HZ = 1 / 0.048
FAILURES = ("none", "not_reached", "not_grasped", "not_high_enough")
_SQUEEZE = 5.0  # N, closing force that counts as a firm grasp


class PickLift(BatchTask):
    """One object per episode, drawn from ``objects`` with its size and weight, lies on the table at a drawn place.

    Success: its centre is at least 20 cm above where it rested, at the last step.  Actions: three translations and the
    turn about the vertical (deltas in the tool's frame), then the fingers from closed (-1) to open (1).
    """

    def __init__(
        self,
        num_envs: int,
        engine: str = "mujoco",
        threads: int = 0,
        *,
        randomness: Literal["low", "medium", "high"] = "medium",
        reward: Literal["dense", "sparse"] = "dense",
        objects: tuple[str, ...] = OBJECTS,
        image_size: int = 48,
        randomise: dict[str, Any] | None = None,
    ) -> None:
        if randomness not in RANDOMNESS:
            raise ValueError(f"task pick_lift.randomness is {randomness!r}; choose one of {', '.join(RANDOMNESS)}")
        unknown = [name for name in objects if name not in OBJECTS]
        if unknown or not objects:
            raise ValueError(f"task pick_lift.objects is {tuple(objects)}; choose one or more of {', '.join(OBJECTS)}")
        self.world = _world_of(engine)(
            num_envs, threads=threads, image_size=image_size, randomise=build(Randomise, randomise, "task.randomise")
        )
        super().__init__(num_envs, action_size=self.world.robot.action_size)
        self._dense = reward == "dense"
        self._reach, self._turn = RANDOMNESS[randomness]
        self._choices = np.array([OBJECTS.index(name) for name in objects])
        self._kind_N = np.zeros(num_envs, np.int64)
        self._scale_N3 = np.zeros((num_envs, 3))
        self._rest_N = np.zeros(num_envs)
        seen = "tool pose, twist, finger positions and squeeze, last action"
        hidden = "object in the tool's frame, the same near zero, turn, lift, velocity, shape"
        groups = [
            Group("proprio", (21,), False, "m, rad, m/s, rad/s, m, N, -", seen),
            Group("privileged", (19,), True, "m, -, m/s", hidden),
            *self.world.camera_groups,
        ]
        self.observers = {"proprio": self._proprio, "privileged": self._privileged}
        self.observers |= {g.name: partial(self.world.look, g.name) for g in self.world.camera_groups}
        self.spec = TaskSpec(
            "pick_lift",
            engine,
            {g.name: g for g in groups},
            self.world.robot.action_size,
            CONTROL_HZ,
            MAX_STEPS,
            FAILURES,
            {
                "randomness": randomness,
                "reward": reward,
                "objects": tuple(objects),
                "image_size": image_size,
                "randomise": dict(randomise or {}),
            },
        )

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        draw = self.uniform(seeds, "object", 8, low=0.0)
        place = self.uniform(seeds, "place", 3)
        start = self.uniform(seeds, "start", 4)
        self._kind_N[ids] = self._choices[(draw[:, 0] * len(self._choices)).astype(np.int64)]
        self._scale_N3[ids] = draw[:, 1:4]
        self._rest_N[ids] = self.world.place(
            ids,
            seeds,
            tool=np.array([0.0, 0.0, 0.13]) + 0.015 * start[:, :3],
            tool_yaw=np.radians(8) * start[:, 3],
            kind=self._kind_N[ids],
            scale=self._scale_N3[ids],
            mass=0.05 + 0.15 * draw[:, 4],
            spot=self._reach * place[:, :2],
            yaw=self._turn * place[:, 2],
        )

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
        return unrotate(robot.rotation, self.world.object_position - robot.position)

    def _lift(self) -> np.ndarray:
        return self.world.object_position[:, 2] - self._rest_N

    def _turn_error(self) -> np.ndarray:
        """Turn about the vertical (rad, within +-pi/2) that brings the fingers across the object; 0 for round ones."""
        rotation = self.world.object_rotation
        # long axis: a box's first, a capsule's third
        axis = np.where((self._kind_N == OBJECTS.index("capsule"))[:, None], rotation[:, :, 2], rotation[:, :, 0])
        axis = unrotate(self.world.robot.rotation, axis)
        turn = (np.arctan2(axis[:, 1], axis[:, 0]) + np.pi / 2) % np.pi - np.pi / 2
        round_ones = np.isin(self._kind_N, [OBJECTS.index("cylinder"), OBJECTS.index("sphere")])
        return np.where(round_ones, 0.0, turn)

    def _proprio(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        robot = self.world.robot
        parts = (robot.position, robot.rotvec, robot.twist, robot.fingers, robot.squeeze, self.last_action)
        return np.concatenate([part[rows] for part in parts], axis=1).astype(np.float32)

    def _privileged(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        offset, turn = self._offset(), self._turn_error()
        parts = (
            offset,
            np.tanh(offset / 0.02),
            np.stack([np.sin(2 * turn), np.cos(2 * turn)], 1),
            self._lift()[:, None],
            unrotate(self.world.robot.rotation, self.world.object_velocity),
            self._scale_N3,
            np.eye(len(OBJECTS))[self._kind_N],
        )
        return np.concatenate(parts, axis=1)[rows].astype(np.float32)

    def render(
        self, ids: np.ndarray | None = None, size: tuple[int, int] = (240, 320), camera: str = "overview"
    ) -> np.ndarray:
        """Pictures of some copies for people, uint8 (n, H, W, 3)."""
        return self.world.render(ids, size, camera)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        own = {"kind": self._kind_N.copy(), "scale": self._scale_N3.copy(), "rest": self._rest_N.copy()}
        return super().state_dict() | own | {f"world/{k}": v for k, v in self.world.state_dict().items()}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        super().load_state_dict(arrays)
        self._kind_N[:], self._scale_N3[:], self._rest_N[:] = arrays["kind"], arrays["scale"], arrays["rest"]
        self.world.load_state_dict({k.removeprefix("world/"): v for k, v in arrays.items() if k.startswith("world/")})

    def close(self) -> None:
        """Free the engine."""
        self.world.close()


def _world_of(engine: str) -> Callable[..., PickWorld | BulletPickWorld]:
    if engine == "mujoco":
        return PickWorld
    if engine == "bullet":
        from embodkd.envs.bullet.pick_lift import BulletPickWorld

        return BulletPickWorld
    raise ValueError(f"task pick_lift has no engine {engine!r}; choose mujoco or bullet")

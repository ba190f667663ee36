"""An assembly as a batched task: state, absolute pose actions at 10 Hz, and 1 for each pair that is joined."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from embodkd.envs.geometry import (
    matrix_from_rot6d,
    quat_from_matrix,
    rot6d_from_matrix,
    rotvec_from_quat,
)
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.spec import Group, TaskSpec
from embodkd.envs.task import BatchTask
from embodkd.envs.tasks.assembly.parts import Pair, Part, Poses
from embodkd.envs.tasks.assembly.screw import Screw
from embodkd.envs.tasks.assembly.waypoints import Waypoint
from embodkd.envs.tasks.assembly.world import STEP, SUBSTEPS, TIMESTEP, AssemblyWorld

from embodkd.core.config.schema import build

# parts: shift (m) and turn (rad); start of the hand: shift (m) and tilt (rad); pushes: m/s and rad/s
RANDOMNESS = {
    "low": (0.01, np.radians(15), 0.01, np.radians(5), (0.2, 1.0)),
    "medium": (0.025, np.radians(45), 0.02, np.radians(10), (0.3, 2.0)),
    "high": (0.05, np.radians(90), 0.04, np.radians(13), (0.4, 3.0)),
}
GRASP_SCALE, JOIN_SCALE = 0.01, 0.003  # m: where "near" is told apart most finely
PUSH_CHANCE = 0.01  # per part and step, in the perturbation mode


class Assembly(BatchTask):
    """Base of the assembly tasks: a member names its ``parts``, ``pairs``, ``max_steps`` and ``waypoints``.

    Actions (10,): where the tool shall be (m, in the world), its rotation as the first two rows of the matrix, and
    the fingers from open (-1) to closed (1). One step moves the tool at most 2.5 cm along each of its axes and turns
    it by at most 0.35 rad; rows that span no plane leave its rotation as it is. Reward: 1 in a step in which a pair
    is joined for the first time, else 0 (two pairs in one step give 1). Success: all pairs have been joined; an
    episode ends there. ``perturb``: any loose part may be hit at any step.
    """

    parts: ClassVar[tuple[Part, ...]]
    pairs: ClassVar[tuple[Pair, ...]]
    name: ClassVar[str]
    max_steps: ClassVar[int]
    start: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.15)
    ends_on_success = True

    def __init__(
        self,
        num_envs: int,
        engine: str = "mujoco",
        threads: int = 0,
        *,
        robot: Literal["gripper", "panda"] = "gripper",
        randomness: Literal["low", "medium", "high"] = "low",
        perturb: bool = False,
        image_size: int = 84,
        randomise: dict[str, Any] | None = None,
    ) -> None:
        if engine != "mujoco":
            raise ValueError(f"task {self.name} has no engine {engine!r}; choose mujoco")
        if randomness not in RANDOMNESS:
            raise ValueError(f"task {self.name}.randomness is {randomness!r}; choose one of {', '.join(RANDOMNESS)}")
        if robot not in ("gripper", "panda"):
            raise ValueError(f"task {self.name}.robot is {robot!r}; choose gripper or panda")
        self.world = AssemblyWorld(
            self.parts,
            self.pairs,
            num_envs,
            threads=threads,
            robot=robot,
            image_size=image_size,
            randomise=build(Randomise, randomise, "task.randomise"),
        )
        super().__init__(num_envs, action_size=10)
        self._perturb = perturb
        self._reach, self._turn, self._start_shift, self._start_tilt, self._push = RANDOMNESS[randomness]
        self.order = {part.name: k for k, part in enumerate(self.parts)}
        self.joined_NK = np.zeros((num_envs, len(self.pairs)), bool)
        loose = sum(not part.fixed for part in self.parts)
        groups = [
            Group("proprio", (16,), False, "m, -, m/s, rad/s, m", "tool pose (rotation as two rows), twist, opening"),
            Group(
                "privileged", (7 * len(self.parts),), True, "m, -", "each part's position and quaternion (x, y, z, w)"
            ),
            Group(
                "relations",
                (6 * loose + 9 * len(self.pairs),),
                True,
                "m, -",
                "loose parts seen from the tool, pairs' parts from their base: place, the same near zero, tilt, turn",
            ),
            *self.world.camera_groups,
        ]
        self.observers = {"proprio": self._proprio, "privileged": self._privileged, "relations": self._relations}
        self.observers |= {g.name: partial(self.world.look, g.name) for g in self.world.camera_groups}
        self.spec = TaskSpec(
            self.name,
            engine,
            {g.name: g for g in groups},
            10,
            1 / (TIMESTEP * SUBSTEPS),
            self.max_steps,
            ("none", *(f"{pair.part}_not_on_{pair.base}" for pair in self.pairs)),
            {
                "robot": robot,
                "randomness": randomness,
                "perturb": perturb,
                "image_size": image_size,
                "randomise": dict(randomise or {}),
            },
        )

    def waypoints(self) -> Sequence[Waypoint]:
        """How the scripted expert does it."""
        raise NotImplementedError

    def tool(self) -> Poses:
        """Where the tool is in every copy."""
        return Poses(self.world.robot.position.copy(), self.world.robot.rotation.copy())

    def part(self, name: str) -> Poses:
        """Where a part is in every copy."""
        return self.world.pose(self.order[name])

    def relative(self, pair: Pair) -> Poses:
        """The pair's part as its base sees it."""
        return self.part(pair.part).within(self.part(pair.base))

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        count = len(self.parts)
        shift = self.uniform(seeds, "parts", 2 * count).reshape(-1, count, 2)
        twist = self.uniform(seeds, "turns", count)
        hand = self.uniform(seeds, "start", 6)
        scale = np.array([part.shift for part in self.parts])
        turns = np.array([part.twist for part in self.parts])
        self.joined_NK[ids] = False
        self.world.place(
            ids,
            seeds,
            tool=np.array(self.start) + self._start_shift * hand[:, :3],
            tool_rotvec=self._start_tilt * hand[:, 3:],
            spots_nP2=np.array([part.spot for part in self.parts]) + self._reach * scale[:, None] * shift,
            yaws_nP=self._turn * turns * twist,
        )

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._perturb:
            self.world.push(self._pushes())
        for screw, nut in self.world.nuts.items():
            nut.catch(self.relative(screw))
        self.world.advance(self._deltas(actions))
        before_NK = self.joined_NK.copy()
        for k, pair in enumerate(self.pairs):
            self.joined_NK[:, k] |= self.is_joined(pair)
        reward = np.any(self.joined_NK & ~before_NK, axis=1).astype(float)
        success = np.asarray(self.joined_NK.all(axis=1))
        failure = np.where(success, 0, 1 + np.argmin(self.joined_NK, axis=1))
        return reward, failure, success

    def is_joined(self, pair: Pair) -> np.ndarray:
        """Whether a pair is together at this moment, (N,); one with a screw must have been turned as well."""
        joined = pair.joined(self.relative(pair))
        if isinstance(pair, Screw):
            joined &= self.world.nuts[pair].turn >= pair.turn
        return joined

    def _deltas(self, actions: np.ndarray) -> np.ndarray:
        """The robot's own action that goes towards an absolute pose: deltas as fractions of ``STEP``, fingers last."""
        actions = actions.astype(float)
        tool = self.tool()
        # two rows that span no plane name no rotation: the tool keeps its own
        named = np.linalg.norm(np.cross(actions[:, 3:6], actions[:, 6:9]), axis=1) > 1e-6
        rows = np.where(named[:, None], actions[:, 3:9], rot6d_from_matrix(tool.rotation))
        goal = Poses(actions[:, :3], matrix_from_rot6d(rows)).within(tool)
        turn = rotvec_from_quat(quat_from_matrix(goal.rotation))
        angle = np.sqrt((turn * turn).sum(axis=1, keepdims=True))
        turn /= np.maximum(angle / STEP[1], 1.0)
        move = np.clip(goal.position / STEP[0], -1.0, 1.0)
        return np.concatenate([move, turn / STEP[1], -actions[:, 9:]], axis=1)

    def _pushes(self) -> np.ndarray:
        """Velocity that hits each part in this step, mostly none, (N, P, 3)."""
        count = len(self.parts)
        draw = self.uniform(self.seeds, "push", 4 * count * self.max_steps, low=0.0)
        row = np.arange(self.num_envs), np.minimum(self.steps, self.max_steps) - 1
        hit, size, angle, twist = np.moveaxis(draw.reshape(self.num_envs, self.max_steps, count, 4)[row], 2, 0)
        speed, turn = self._push
        planar = np.stack([np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)], axis=-1) * (speed * size)[..., None]
        push = np.concatenate([planar, (turn * (2 * twist - 1))[..., None]], axis=-1)
        return push * (hit < PUSH_CHANCE)[..., None]

    def _proprio(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        robot = self.world.robot
        width = robot.fingers.sum(axis=1, keepdims=True)
        parts = (robot.position, rot6d_from_matrix(robot.rotation), robot.twist, width)
        return np.concatenate([part[rows] for part in parts], axis=1).astype(np.float32)

    def _privileged(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        columns: list[np.ndarray] = []
        for k in range(len(self.parts)):
            quat = self.world.quat(k)[rows]
            # a rotation has two quaternions: the one with w >= 0 is shown
            quat = np.where(quat[:, :1] < 0, -quat, quat)
            columns += [self.world.pose(k).position[rows], quat[:, 1:], quat[:, :1]]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def _relations(self, ids: np.ndarray | None) -> np.ndarray:
        rows = slice(None) if ids is None else ids
        tool, columns = self.tool(), []
        for part in self.parts:
            if not part.fixed:
                columns += _near(self.part(part.name).within(tool).position, GRASP_SCALE)
        for pair in self.pairs:
            seen = self.relative(pair)
            turn = np.arctan2(seen.rotation[:, 1, 0], seen.rotation[:, 0, 0])
            columns += [*_near(seen.position, JOIN_SCALE), seen.rotation[:, :2, 2], np.sin(turn)[:, None]]
        return np.concatenate(columns, axis=1)[rows].astype(np.float32)

    def render(
        self, ids: np.ndarray | None = None, size: tuple[int, int] = (240, 320), camera: str = "overview"
    ) -> np.ndarray:
        """Pictures of some copies for people, uint8 (n, H, W, 3)."""
        return self.world.render(ids, size, camera)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        own = {"joined": self.joined_NK.copy()}
        return super().state_dict() | own | {f"world/{k}": v for k, v in self.world.state_dict().items()}

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        super().load_state_dict(arrays)
        self.joined_NK[:] = arrays["joined"]
        self.world.load_state_dict({k.removeprefix("world/"): v for k, v in arrays.items() if k.startswith("world/")})

    def close(self) -> None:
        """Free the engine."""
        self.world.close()


def _near(position: np.ndarray, scale: float) -> list[np.ndarray]:
    """Positions (N, 3) twice: in metres, and squeezed so that ``scale`` (m) is most of the range."""
    return [position, np.tanh(position / scale)]

"""An assembly as a batched task: state, absolute pose actions at 10 Hz, and 1 for each pair that is joined."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from embodkd.envs.camera import Kind
from embodkd.envs.geometry import (
    matrix_from_rot6d,
    quat_from_matrix,
    quat_from_rotvec,
    quat_multiply,
    rot6d_from_matrix,
    rotvec_about_z,
    rotvec_from_quat,
)
from embodkd.envs.randomise import Randomised
from embodkd.envs.robot import POSITION, SHORTEST, TWIST
from embodkd.envs.spec import Column, Group
from embodkd.envs.tasks.assembly import progress
from embodkd.envs.tasks.assembly.parts import Pair, Part, Poses
from embodkd.envs.tasks.assembly.phases import phase_names
from embodkd.envs.tasks.assembly.pushes import pushes
from embodkd.envs.tasks.assembly.screw import Screw
from embodkd.envs.tasks.assembly.waypoints import Waypoint
from embodkd.envs.tasks.assembly.world import STEP, SUBSTEPS, TIMESTEP, AssemblyWorld
from embodkd.envs.tasks.world_task import WorldTask

from embodkd.core.config.ranges import Copies, Count, Pixels, Threads


class Spread(NamedTuple):
    """How far an episode's beginning may stray: parts (m, rad), hand (m, rad); and how hard pushes hit (m/s, rad/s)."""

    reach: float
    turn: float
    start: float
    tilt: float
    push: tuple[float, float]


RANDOMNESS = {
    "low": Spread(0.01, np.radians(15), 0.01, np.radians(5), (0.2, 1.0)),
    "medium": Spread(0.025, np.radians(45), 0.02, np.radians(10), (0.3, 2.0)),
    "high": Spread(0.05, np.radians(90), 0.04, np.radians(13), (0.4, 3.0)),
}
APART = 0.001  # m: parts that begin deeper in each other are drawn again
GRASP_SCALE, JOIN_SCALE = 0.01, 0.003  # m: where "near" is told apart most finely
_ROWS = Column("first two rows of the tool's rotation", 6, "-", "world")
PROPRIO = Group.of("proprio", POSITION, _ROWS, *TWIST, Column("opening of both fingers", 1, "m"), privileged=False)


class Assembly(WorldTask):
    """Base of the assembly tasks: a member names its ``parts``, ``pairs``, ``max_steps`` and ``waypoints``.

    Actions (10,): where the tool shall be (m, in the world), its rotation as the first two rows of the matrix, and
    the fingers from open (-1) to closed (1). One step moves the tool at most 2.5 cm along each of its axes and turns
    it by at most 0.35 rad; rows that span no plane leave its rotation as it is. Reward: 1 in a step in which a pair
    is joined for the first time, else 0 (two pairs in one step give 1). Success: all pairs have been joined; an
    episode ends there. ``perturb``: any loose part may be hit at any step.
    """

    parts: ClassVar[tuple[Part, ...]]
    pairs: ClassVar[tuple[Pair, ...]]
    start: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.15)
    foot: ClassVar[float] = -0.5  # m, along x: where an arm stands
    shapes: ClassVar[tuple[Kind, ...]] = ("depth", "segmentation")  # those of the camera on the hand
    ends_on_success = True
    control_hz = 1 / (TIMESTEP * SUBSTEPS)
    keeps = {"joined": "joined_NK", "progress": "progress_NK"}
    changes = (
        f"{SHORTEST}; the Panda's angular velocity is along the tool's axes, as the gripper's; parts that would begin "
        "in each other are drawn again",
        "what leaves the table comes to rest on a floor 20 cm below it; failures are counted by part and cause",
    )
    world: AssemblyWorld

    def __init__(
        self,
        num_envs: Copies,
        engine: str = "mujoco",
        threads: Threads = 0,
        *,
        robot: Literal["gripper", "panda"] = "gripper",
        randomness: Literal["low", "medium", "high"] = "low",
        perturb: bool = False,
        image_size: Pixels = 84,
        randomise: Randomised = None,
        max_steps: Count | None = None,
    ) -> None:
        self._perturb, self._spread = perturb, RANDOMNESS[randomness]
        self.order = {part.name: k for k, part in enumerate(self.parts)}
        self.failures = ("none", *progress.failures(self.pairs))
        options = {
            "robot": robot,
            "randomness": randomness,
            "perturb": perturb,
            "image_size": image_size,
            "randomise": randomise,
            "max_steps": max_steps,
        }
        poses, near = _columns(self.parts, self.pairs)
        groups = {
            PROPRIO: self._proprio,
            Group.of("privileged", *poses, privileged=True): self._poses,
            Group.of("relations", *near, privileged=True): self._relations,
        }
        scene = {"parts": self.parts, "pairs": self.pairs, "robot": robot, "foot": self.foot, "shapes": self.shapes}
        super().__init__(num_envs, engine, threads, options, groups, action_size=10, **scene)
        self.joined_NK = np.zeros((num_envs, len(self.pairs)), bool)
        self.progress_NK = np.zeros(self.joined_NK.shape, np.int64)

    @staticmethod
    def scene(engine: str) -> Callable[..., AssemblyWorld]:
        """The world of these tasks on an engine."""
        return AssemblyWorld

    def waypoints(self) -> Sequence[Waypoint]:
        """How the scripted expert does it."""
        raise NotImplementedError

    def phases(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return phase_names(self)

    def tool(self) -> Poses:
        """Where the tool is in every copy."""
        return Poses(self.world.robot.position.copy(), self.world.robot.rotation.copy())

    def part(self, name: str) -> Poses:
        """Where a part is in every copy."""
        return Poses(self.world.position(name).copy(), self.world.rotation(name).copy())

    def relative(self, pair: Pair) -> Poses:
        """The pair's part as its base sees it."""
        return self.part(pair.part).within(self.part(pair.base))

    def is_joined(self, pair: Pair) -> np.ndarray:
        """Whether a pair is together at this moment, (N,); one with a screw must have been turned as well."""
        joined = pair.joined(self.relative(pair))
        if isinstance(pair, Screw):
            joined &= self.world.nuts[pair].turn >= pair.turn
        return joined

    def end_when_lost(self) -> None:
        """See ``BatchTask``."""
        self.ends_when_lost = True

    def lost(self) -> np.ndarray:
        """See ``progress.lost``."""
        return progress.lost(self)

    def _place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        count, spread = len(self.parts), self._spread
        shift = self.uniform(seeds, "parts", 2 * count).reshape(-1, count, 2)
        twist = self.uniform(seeds, "turns", count)
        hand = self.uniform(seeds, "start", 6)
        self.joined_NK[ids], self.progress_NK[ids] = False, 0
        self.world.start(ids, seeds)
        for k, part in enumerate(self.parts):
            spot = np.array(part.spot) + spread.reach * part.shift * shift[:, k]
            turn = quat_from_rotvec(rotvec_about_z(spread.turn * part.twist * twist[:, k]))
            place = np.concatenate([spot, np.full((len(ids), 1), part.height)], axis=1)
            self.world.put(part.name, ids, place, quat_multiply(turn, np.array([part.quat])))
        self.world.robot.place(ids, np.array(self.start) + spread.start * hand[:, :3], spread.tilt * hand[:, 3:])
        self.world.settle(ids)

    def _unfit(self, ids: np.ndarray) -> np.ndarray:
        return self.world.sim.penetration(ids) > APART

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._perturb:
            now = np.minimum(self.steps, self.max_steps) - 1
            self.world.push(pushes(self.seeds, now, self.max_steps, len(self.parts), *self._spread.push))
        for screw, nut in self.world.nuts.items():
            nut.catch(self.relative(screw))
        self.world.advance(self._deltas(actions))
        before_NK = self.joined_NK.copy()
        for k, pair in enumerate(self.pairs):
            self.joined_NK[:, k] |= self.is_joined(pair)
        reward = np.any(self.joined_NK & ~before_NK, axis=1).astype(float)
        self.progress_NK = np.maximum(self.progress_NK, progress.come_to(self))
        success = np.asarray(self.joined_NK.all(axis=1))
        failure = np.where(success, 0, 1 + progress.failure(self, self.progress_NK))
        return reward, failure, success

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

    def _proprio(self) -> tuple[np.ndarray, ...]:
        robot = self.world.robot
        width = robot.fingers.sum(axis=1, keepdims=True)
        return robot.position, rot6d_from_matrix(robot.rotation), robot.twist, width

    def _poses(self) -> tuple[np.ndarray, ...]:
        columns: list[np.ndarray] = []
        for part in self.parts:
            quat = self.world.quat(part.name)
            # a rotation has two quaternions: the one with w >= 0 is shown
            quat = np.where(quat[:, :1] < 0, -quat, quat)
            columns += [self.world.position(part.name), quat[:, 1:], quat[:, :1]]
        return tuple(columns)

    def _relations(self) -> tuple[np.ndarray, ...]:
        tool, columns = self.tool(), list[np.ndarray]()
        for part in self.parts:
            if not part.fixed:
                columns += _near(self.part(part.name).within(tool).position, GRASP_SCALE)
        for pair in self.pairs:
            seen = self.relative(pair)
            turn = np.arctan2(seen.rotation[:, 1, 0], seen.rotation[:, 0, 0])
            columns += [*_near(seen.position, JOIN_SCALE), seen.rotation[:, :2, 2], np.sin(turn)[:, None]]
        return tuple(columns)


def _columns(parts: Sequence[Part], pairs: Sequence[Pair]) -> tuple[list[Column], list[Column]]:
    """What the columns of "privileged" and of "relations" are."""
    poses, near = list[Column](), list[Column]()
    for part in parts:
        poses += [Column(f"{part.name} position", 3, "m", "world")]
        poses += [Column(f"{part.name} quaternion x, y, z, w", 4, "-", "world")]
        if not part.fixed:
            near += [Column(f"from the tool to {part.name}", 3, "m", "tool")]
            near += [Column(f"the same as tanh(x / {GRASP_SCALE} m)", 3, "-", "tool")]
    for pair in pairs:
        near += [Column(f"from {pair.base} to {pair.part}", 3, "m", pair.base)]
        near += [Column(f"the same as tanh(x / {JOIN_SCALE} m)", 3, "-", pair.base)]
        near += [Column(f"x and y of the z axis of {pair.part}", 2, "-", pair.base)]
        near += [Column(f"sine of the turn of {pair.part}", 1, "-", pair.base)]
    return poses, near


def _near(position: np.ndarray, scale: float) -> list[np.ndarray]:
    """Positions (N, 3) twice: in metres, and squeezed so that ``scale`` (m) is most of the range."""
    return [position, np.tanh(position / scale)]

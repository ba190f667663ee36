"""Scripted experts: waypoints that read the true poses, with human-like noise, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from embodkd.envs import draws
from embodkd.envs.geometry import (
    matrix_from_quat,
    quat_from_matrix,
    quat_from_rotvec,
    rot6d_from_matrix,
    rotvec_from_quat,
)
from embodkd.envs.tasks.assembly.parts import Poses
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.envs.tasks.assembly.world import STEP

OPEN, CLOSED = -1.0, 1.0
ANY_TURN = 360  # as ``turns``: what is round keeps the turn it has, to a degree
Goal = Callable[[Assembly], Poses]


@dataclass(frozen=True)
class Waypoint:
    """Where the tool shall go next, and when it is there.

    ``goal`` gives the tool's pose from the true state at each step. It is reached within ``near`` (m) and ``turned``
    (rad) after at least ``hold`` steps, or given up after ``patience`` steps. ``noise`` is the standard deviation (m)
    of an offset that an episode draws for this waypoint: a hand that aims imprecisely and is corrected at the next
    one. ``speed`` is the share of the largest step that one action may take.
    """

    goal: Goal
    grip: float
    near: float = 0.004
    turned: float = 0.06
    hold: int = 1
    patience: int = 25
    noise: float = 0.002
    speed: float = 1.0


class Expert:
    """Acts from the task itself, whatever it is shown: an actor and its own session over the copies of ``task``.

    ``noise`` scales every waypoint's own. Per episode it also draws how fast the hand is (60 to 100 %) and, at every
    waypoint, a pause of up to ``pause`` steps.
    """

    def __init__(
        self, task: Assembly, waypoints: Sequence[Waypoint] | None = None, *, noise: float = 1.0, pause: int = 1
    ) -> None:
        self.task, self.waypoints = task, tuple(task.waypoints() if waypoints is None else waypoints)
        self._noise, self._pause = noise, pause
        count = task.num_envs
        self.phase_N = np.zeros(count, np.int64)
        self._since_N = np.zeros(count, np.int64)

    reads: tuple[str, ...] = ()

    def session(self, copies: int, chunk: int = 0) -> Expert:
        """Itself; ValueError for another number of copies than its task has."""
        if copies != self.task.num_envs:
            raise ValueError(f"this expert acts in its own task of {self.task.num_envs} copies, not in {copies}")
        return self

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Episodes have just started in the copies ``ids`` (None: all)."""
        rows = slice(None) if ids is None else ids
        self.phase_N[rows] = 0
        self._since_N[rows] = 0

    def act(self, obs: Mapping[str, np.ndarray] | None = None, ids: np.ndarray | None = None) -> np.ndarray:
        """The next absolute poses for the state that the task is in, float32 (N, 10); of the copies ``ids`` only, if
        they are given."""
        task, count = self.task, self.task.num_envs
        goals = [waypoint.goal(task) for waypoint in self.waypoints]
        offset_NK3 = self._noise * self._offsets()
        pause_NK = self._pauses()
        row = np.arange(count)
        tool = task.tool()
        self._since_N += 1
        self._move_on(goals, offset_NK3, pause_NK, tool)
        phase = self.phase_N
        position = np.stack([g.position for g in goals], axis=1)[row, phase] + offset_NK3[row, phase]
        rotation = np.stack([g.rotation for g in goals], axis=1)[row, phase]
        speed = np.array([w.speed for w in self.waypoints])[phase] * self._hurry()
        reach = _towards(tool, Poses(position, rotation), speed)
        grip = np.array([w.grip for w in self.waypoints])[phase]
        actions = np.concatenate([reach.position, rot6d_from_matrix(reach.rotation), grip[:, None]], axis=1)
        return actions.astype(np.float32)[slice(None) if ids is None else ids]

    def _move_on(self, goals: Sequence[Poses], offset_NK3: np.ndarray, pause_NK: np.ndarray, tool: Poses) -> None:
        last = len(self.waypoints) - 1
        for k, (waypoint, goal) in enumerate(zip(self.waypoints, goals, strict=True)):
            here = self.phase_N == k
            away = np.linalg.norm(goal.position + offset_NK3[:, k] - tool.position, axis=1)
            turn = np.linalg.norm(rotvec_from_quat(quat_from_matrix(goal.within(tool).rotation)), axis=1)
            there = (away <= waypoint.near) & (turn <= waypoint.turned)
            there &= self._since_N > waypoint.hold + pause_NK[:, k]
            done = here & (there | (self._since_N > waypoint.patience)) & (k < last)
            self.phase_N[done] += 1
            self._since_N[done] = 0

    def _offsets(self) -> np.ndarray:
        scale = np.array([w.noise for w in self.waypoints])
        normal = draws.normal(self.task.seeds, "expert offsets", 3 * len(scale)).reshape(-1, len(scale), 3)
        return scale[:, None] * normal

    def _pauses(self) -> np.ndarray:
        share = draws.uniform(self.task.seeds, "expert pauses", len(self.waypoints))
        return (share * (self._pause + 1)).astype(np.int64)

    def _hurry(self) -> np.ndarray:
        return draws.uniform(self.task.seeds, "expert speed", 1, low=0.6, high=1.0)[:, 0]


def _towards(tool: Poses, goal: Poses, speed_N: np.ndarray) -> Poses:
    """The pose on the way from the tool to the goal that one step at this share of full speed may reach."""
    local = goal.within(tool)
    turn = rotvec_from_quat(quat_from_matrix(local.rotation))
    far = np.abs(local.position).max(axis=1) / STEP[0]
    wide = np.linalg.norm(turn, axis=1) / STEP[1]
    share = np.minimum(speed_N / np.maximum(np.maximum(far, wide), 1e-9), 1.0)[:, None]
    return tool.after(Poses(local.position * share, matrix_from_quat(quat_from_rotvec(turn * share))))


def grasp(part: str, height: float, lift: float = 0.0, turns: int = 2) -> Goal:
    """The tool upright at ``height`` (m) above a part's frame, ``lift`` above that, fingers across the part.

    The turn about the vertical is the part's own, up to one of ``turns`` equal ones in a full circle: the nearest.
    """

    def goal(task: Assembly) -> Poses:
        seen = task.part(part)
        yaw = _nearest_yaw(seen, task.tool(), turns)
        return Poses(seen.position + [0.0, 0.0, height + lift], about_z(yaw))

    return goal


def carry(
    part: str,
    onto: str,
    position: tuple[float, float, float],
    lift: float = 0.0,
    turns: int = 1,
) -> Goal:
    """The tool where the held part, as it lies in the hand now, stands upright at ``position`` in the frame of
    ``onto``, ``lift`` (m) above; its turn is that of ``onto`` up to one of ``turns`` equal ones."""

    def goal(task: Assembly) -> Poses:
        base, held, tool = task.part(onto), task.part(part), task.tool()
        target = base.after(Poses(np.tile(position, (task.num_envs, 1)), np.tile(np.eye(3), (task.num_envs, 1, 1))))
        yaw = _nearest_yaw(base, held, turns)
        wanted = Poses(target.position + [0.0, 0.0, lift], about_z(yaw))
        return wanted.after(tool.within(held))

    return goal


def stay(rise: float = 0.0) -> Goal:
    """The tool where it is, ``rise`` (m) higher, upright as it is turned."""

    def goal(task: Assembly) -> Poses:
        tool = task.tool()
        return Poses(tool.position + [0.0, 0.0, rise], tool.rotation)

    return goal


def pick(part: str, height: float, turns: int) -> tuple[Waypoint, ...]:
    """Over the part, down until the tool is ``height`` (m) above the part's frame, close."""
    return (
        Waypoint(grasp(part, height, lift=0.06, turns=turns), OPEN, near=0.01, noise=0.003),
        Waypoint(grasp(part, height, turns=turns), OPEN, noise=0.001, speed=0.6),
        Waypoint(stay(), CLOSED, near=1.0, turned=1.0, hold=3, noise=0.0),
    )


def put(part: str, onto: str, mouth: float, seat: float, turns: int = ANY_TURN) -> tuple[Waypoint, ...]:
    """Over where both meet first (height ``mouth`` of ``onto``), close above it, then gently down to ``seat``."""
    way = [carry(part, onto, (0.0, 0.0, height), turns=turns) for height in (mouth + 0.03, mouth + 0.003, seat - 0.003)]
    return (
        Waypoint(way[0], CLOSED, near=0.006, noise=0.003),
        # on the move: whoever waits here until all is exact teaches a policy without such eyes to wait for ever
        Waypoint(way[1], CLOSED, near=0.008, turned=0.1, noise=0.0, speed=0.5),
        Waypoint(way[2], CLOSED, noise=0.0, speed=0.3),
    )


def _nearest_yaw(wanted: Poses, now: Poses, turns: int) -> np.ndarray:
    """The turn of ``wanted`` about the vertical, plus the multiple of a full circle / ``turns`` nearest to ``now``."""
    target = np.arctan2(wanted.rotation[:, 1, 0], wanted.rotation[:, 0, 0])
    here = np.arctan2(now.rotation[:, 1, 0], now.rotation[:, 0, 0])
    step = 2 * np.pi / turns
    return target + step * np.round((here - target) / step)


def about_z(yaw_N: np.ndarray) -> np.ndarray:
    """Rotations about the vertical, (N, 3, 3)."""
    turn = np.zeros((len(yaw_N), 3))
    turn[:, 2] = yaw_N
    return matrix_from_quat(quat_from_rotvec(turn))

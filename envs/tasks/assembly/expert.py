"""Scripted experts: they go through a task's waypoints with human-like noise, in all copies at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from embodkd.envs.tasks.assembly.waypoints import Waypoint
from embodkd.envs.tasks.assembly.world import STEP


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

"""Waypoints of scripted experts: where the tool shall go next, told from the true poses of a whole batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec
from embodkd.envs.tasks.assembly.parts import Poses

OPEN, CLOSED = -1.0, 1.0
ANY_TURN = 360  # as ``turns``: what is round keeps the turn it has, to a degree


class Bench(Protocol):
    """What a goal asks of the assembly that it is in."""

    num_envs: int

    def tool(self) -> Poses:
        """Where the tool is in every copy."""
        ...

    def part(self, name: str) -> Poses:
        """Where a part is in every copy."""
        ...


Goal = Callable[[Bench], Poses]


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


def grasp(part: str, height: float, lift: float = 0.0, turns: int = 2) -> Goal:
    """The tool upright at ``height`` (m) above a part's frame, ``lift`` above that, fingers across the part.

    The turn about the vertical is the part's own, up to one of ``turns`` equal ones in a full circle: the nearest.
    """

    def goal(bench: Bench) -> Poses:
        seen = bench.part(part)
        yaw = _nearest_yaw(seen, bench.tool(), turns)
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

    def goal(bench: Bench) -> Poses:
        base, held, tool = bench.part(onto), bench.part(part), bench.tool()
        target = base.after(Poses(np.tile(position, (bench.num_envs, 1)), np.tile(np.eye(3), (bench.num_envs, 1, 1))))
        yaw = _nearest_yaw(base, held, turns)
        wanted = Poses(target.position + [0.0, 0.0, lift], about_z(yaw))
        return wanted.after(tool.within(held))

    return goal


def stay(rise: float = 0.0) -> Goal:
    """The tool where it is, ``rise`` (m) higher, upright as it is turned."""

    def goal(bench: Bench) -> Poses:
        tool = bench.tool()
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

"""A mug is hung on a rack: its handle goes over one of two pegs, and the hand lets it go."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from embodkd.envs.geometry import unrotate
from embodkd.envs.tasks.assembly.parts import Pair, Part, Poses
from embodkd.envs.tasks.assembly.shapes import box, capsule, cylinder, ring
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.envs.tasks.assembly.waypoints import CLOSED, OPEN, Bench, Goal, Waypoint, pick, stay

SIDES = 12  # of the mug, a ring of boxes
MUG, RADIUS, WALL = 0.06, 0.028, 0.004  # m: its height, from its axis to its outer faces, its thickness
HOLE_HALF = (0.008, 0.013)  # half the width and height of the hole in the handle
HOLE = (RADIUS + HOLE_HALF[0], 0.0, 0.032)  # the middle of the hole, in the mug's frame on its bottom
BAR, BAR_HALF = 0.006, 0.005  # the handle around it: how thick, and half how wide
PEG_RADIUS, TILT = 0.004, np.radians(15)  # the pegs rise outwards, so that a mug stays on them
ROOT, TIP = (0.004, 0.1), (0.05, 0.1 + 0.046 * np.tan(TILT))  # a peg's ends: along the rack's y (either way), height
POST, POST_HALF = 0.12, 0.006
FOOT, FOOT_RADIUS = 0.008, 0.035
SEAT = 0.028  # along the rack's y: where the expert hangs a mug
AWAY = 0.09  # from the tool to the middle of the mug: no held mug is that far
_BLUE, _WOOD = (0.25, 0.45, 0.7), (0.62, 0.43, 0.26)


def _rack(body: mujoco.MjsBody) -> None:
    cylinder(body, (0, 0, FOOT / 2), FOOT_RADIUS, FOOT / 2, _WOOD)
    box(body, (0, 0, POST / 2), (POST_HALF, POST_HALF, POST / 2), _WOOD)
    half = (TIP[0] - ROOT[0]) / 2 / np.cos(TILT)
    lean = (np.pi / 2 - TILT) / 2
    for side in (-1, 1):
        middle = (0, side * (ROOT[0] + TIP[0]) / 2, (ROOT[1] + TIP[1]) / 2)
        turn = (np.cos(lean), -side * np.sin(lean), 0.0, 0.0)
        capsule(body, middle, PEG_RADIUS, half, _WOOD, quat=turn, friction=0.3)


def _mug(body: mujoco.MjsBody) -> None:
    ring(body, SIDES, (RADIUS - WALL, RADIUS), (0.002, MUG), _BLUE, mass=0.06)
    # it stands on this alone
    cylinder(body, (0, 0, WALL / 2), RADIUS - 0.001, WALL / 2, _BLUE, mass=0.02, friction=0.3)
    (x, _, z), (wide, high), bar = HOLE, HOLE_HALF, BAR / 2
    for end in (-1, 1):
        box(body, (x, 0, z + end * (high + bar)), (wide, BAR_HALF, bar), _BLUE, mass=0.004, friction=0.3)
    box(body, (x + wide + bar, 0, z), (bar, BAR_HALF, high + BAR), _BLUE, mass=0.006, friction=0.3)


@dataclass(frozen=True)
class Hanging(Pair):
    """A peg goes through the hole in a handle: whichever of the pegs, and from whichever side."""

    base: str
    part: str
    near = 0.1

    def joined(self, relative: Poses) -> np.ndarray:
        """Whether each copy's pair is together, (N,): where a peg's axis meets the middle of the handle it is
        inside the hole, and reaches further than the handle is wide."""
        found = np.zeros(len(relative.position), bool)
        for side in (-1.0, 1.0):
            root, tip = (
                unrotate(relative.rotation, [0.0, side * along, height] - relative.position)
                for along, height in (ROOT, TIP)
            )
            over = (root[:, 1] * tip[:, 1] < 0) & (np.abs(tip[:, 1]) >= BAR_HALF)
            share = root[:, 1] / np.where(over, root[:, 1] - tip[:, 1], 1.0)
            meets = root + share[:, None] * (tip - root)
            found |= over & (np.abs(meets - HOLE)[:, [0, 2]] <= HOLE_HALF).all(axis=1)
        return found


class MugRack(Assembly):
    """The rack is fixed, the mug stands beside it with its handle towards it. The handle must hang on either peg, on
    whichever side, and the tool be 9 cm away from the middle of the mug: it has let go (the card's mug_rack)."""

    name = "mug_rack"
    max_steps = 80
    start = (-0.06, 0.0, 0.15)
    parts = (
        Part("rack", _rack, spot=(0.065, 0.0), height=0.0, fixed=True, shift=0.5, twist=0.3),
        Part("mug", _mug, spot=(-0.08, 0.0), height=0.0, shift=0.8),
    )
    pairs = (Hanging("rack", "mug"),)

    def is_joined(self, pair: Pair) -> np.ndarray:
        """Whether the mug hangs at this moment and the hand has left it, (N,)."""
        mug = self.part("mug")
        middle = mug.position + MUG / 2 * mug.rotation[:, :, 2]
        away = np.linalg.norm(self.tool().position - middle, axis=1) >= AWAY
        return away & super().is_joined(pair)

    def waypoints(self) -> tuple[Waypoint, ...]:
        """How the expert does it: up beside a peg's tip, in front of it, over it, down, open, away."""
        level = (ROOT[1] + TIP[1]) / 2
        outside = TIP[0] + 0.02
        rests = ROOT[1] + (SEAT - ROOT[0]) * np.tan(TILT) + PEG_RADIUS - HOLE_HALF[1]
        return (
            *pick("mug", 0.045, turns=1),
            Waypoint(_handle(outside + 0.005, level, back=0.04), CLOSED, near=0.01, turned=0.15, noise=0.003),
            Waypoint(_handle(outside, level), CLOSED, near=0.003, turned=0.05, noise=0.001),
            Waypoint(_handle(SEAT, level), CLOSED, noise=0.0, speed=0.5),
            Waypoint(_handle(SEAT, rests - 0.001), CLOSED, near=0.003, noise=0.0, speed=0.3),
            Waypoint(stay(), OPEN, near=1.0, turned=1.0, hold=2, noise=0.0),
            Waypoint(_above(0.22), OPEN, noise=0.0),
        )


def _handle(along: float, height: float, back: float = 0.0) -> Goal:
    """The tool where the hole in the held mug's handle is on the line of the nearer peg, ``along`` (m) from the post
    and at ``height``, or ``back`` before that line; the mug is on the side that it came from."""

    def goal(bench: Bench) -> Poses:
        rack, mug, tool = bench.part("rack"), bench.part("mug"), bench.tool()
        side = np.where(mug.within(rack).position[:, 1] < 0, -1.0, 1.0)
        hole = np.stack([np.full_like(side, -back), side * along, np.full_like(side, height)], axis=1)
        wanted = rack.after(Poses(hole - HOLE, np.tile(np.eye(3), (bench.num_envs, 1, 1))))
        return wanted.after(tool.within(mug))

    return goal


def _above(height: float) -> Goal:
    """The tool straight up from where it is, to ``height`` (m)."""

    def goal(bench: Bench) -> Poses:
        tool = bench.tool()
        return Poses(np.stack([*tool.position[:, :2].T, np.full(bench.num_envs, height)], axis=1), tool.rotation)

    return goal

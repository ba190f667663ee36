"""A round table upside down: a leg goes into the middle of the top, then the foot goes onto the leg's other end."""

from __future__ import annotations

from functools import partial

import mujoco
import numpy as np
from embodkd.envs.tasks.assembly.expert import CLOSED, OPEN, Waypoint, carry, grasp, stay
from embodkd.envs.tasks.assembly.parts import Insertion, Part, box, cylinder
from embodkd.envs.tasks.assembly.task import Assembly

LEG, TIP = 0.08, 0.016  # m: the whole leg, and the thinner end on each side of it
TIP_RADIUS, LEG_RADIUS = 0.01, 0.013
CLEARANCE = 0.0006  # m between tip and hole, all around
HOLE = TIP + 0.002  # deeper than the tip is long, so that the leg stands on its shoulder
FLOOR = 0.004  # under each hole
TOP_RADIUS, FOOT_RADIUS = 0.05, 0.028  # of the circle inside the octagon; the foot must fit between open fingers
SEAT = FLOOR + HOLE - TIP  # height of the lower tip of a leg that stands in the top
SIDES = 8
ANY_TURN = 360  # what is round keeps the turn it has, to a degree
_WOOD, _ORANGE, _GREEN = (0.72, 0.53, 0.33), (0.86, 0.45, 0.16), (0.27, 0.52, 0.4)


def _plate(
    body: mujoco.MjsBody, radius: float, hole: float, floor: float, colour: tuple[float, float, float], mass: float
) -> None:
    """An octagon with a hole in the middle, its ring from height ``hole`` and its floor from ``floor``."""
    inner, tangent = TIP_RADIUS + CLEARANCE, np.tan(np.pi / SIDES)
    middle, half = (inner + radius) / 2, ((radius - inner) / 2, radius * tangent, HOLE / 2)
    for k in range(SIDES):
        angle = 2 * np.pi * k / SIDES
        centre = (middle * np.cos(angle), middle * np.sin(angle), hole + HOLE / 2)
        turn = (np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2))
        box(body, centre, half, colour, mass=0.8 * mass / SIDES, quat=turn, friction=0.3)
    cylinder(body, (0, 0, floor + FLOOR / 2), radius, FLOOR / 2, colour, mass=0.2 * mass, friction=0.3)


def _leg(body: mujoco.MjsBody) -> None:
    half = LEG / 2
    cylinder(body, (0, 0, half), LEG_RADIUS, half - TIP, _ORANGE, mass=0.06, friction=0.3)
    cylinder(body, (0, 0, half), TIP_RADIUS, half, _ORANGE, mass=0.02, friction=0.3)


class RoundTableLite(Assembly):
    """The top lies face down and is fixed, the leg stands and the foot lies beside it, hole down. Each end of the leg
    must be within 5 mm of its place, sideways and in height, and tilted by at most 19.9 degrees; all turns about the
    axis are alike (the card's round_table_lite)."""

    name = "round_table_lite"
    max_steps = 200
    parts = (
        Part(
            "top",
            partial(_plate, radius=TOP_RADIUS, hole=FLOOR, floor=0.0, colour=_WOOD, mass=0.0),
            spot=(0.075, 0.0),
            height=0.0,
            fixed=True,
            shift=0.5,
        ),
        Part("leg", _leg, spot=(-0.085, -0.075), height=0.0),
        Part(
            "foot",
            partial(_plate, radius=FOOT_RADIUS, hole=0.0, floor=HOLE, colour=_GREEN, mass=0.08),
            spot=(-0.08, 0.08),
            height=0.0,
        ),
    )
    pairs = (
        Insertion("top", "leg", height=SEAT + 0.005, sideways=0.005, tilt=np.arccos(0.94)),
        Insertion("leg", "foot", height=LEG - TIP + 0.005, sideways=0.005, tilt=np.arccos(0.94)),
    )


def waypoints() -> tuple[Waypoint, ...]:
    """How the expert does it: the leg into the top, off it and away, the foot onto the leg."""
    at, low = LEG / 2 + 0.005, 0.011  # where the tool holds leg and foot, above their frames
    above, on_top = (0.0, 0.0, FLOOR + HOLE), (0.0, 0.0, LEG)
    close = Waypoint(stay(), CLOSED, near=1.0, turned=1.0, hold=3, noise=0.0)
    release = Waypoint(stay(), OPEN, near=1.0, turned=1.0, hold=2, noise=0.0)
    return (
        Waypoint(grasp("leg", at, lift=0.06, turns=ANY_TURN), OPEN, near=0.01, noise=0.003),
        Waypoint(grasp("leg", at, turns=ANY_TURN), OPEN, noise=0.001, speed=0.6),
        close,
        Waypoint(carry("leg", "top", above, lift=0.03, turns=ANY_TURN), CLOSED, near=0.006, noise=0.003),
        Waypoint(
            carry("leg", "top", above, lift=0.003, turns=ANY_TURN),
            CLOSED,
            near=0.0015,
            turned=0.03,
            noise=0.0,
            speed=0.5,
        ),
        Waypoint(carry("leg", "top", (0.0, 0.0, SEAT - 0.003), turns=ANY_TURN), CLOSED, noise=0.0, speed=0.3),
        release,
        Waypoint(grasp("leg", at, lift=0.07, turns=ANY_TURN), OPEN, near=0.01, noise=0.003),
        Waypoint(grasp("foot", low, lift=0.06, turns=SIDES), OPEN, near=0.01, noise=0.003),
        Waypoint(grasp("foot", low, turns=SIDES), OPEN, noise=0.001, speed=0.6),
        close,
        Waypoint(carry("foot", "leg", on_top, lift=0.03, turns=ANY_TURN), CLOSED, near=0.006, noise=0.003),
        Waypoint(
            carry("foot", "leg", on_top, lift=0.003, turns=ANY_TURN),
            CLOSED,
            near=0.0015,
            turned=0.03,
            noise=0.0,
            speed=0.5,
        ),
        Waypoint(carry("foot", "leg", (0.0, 0.0, LEG - TIP - 0.003), turns=ANY_TURN), CLOSED, noise=0.0, speed=0.3),
    )

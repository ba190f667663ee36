"""A round table upside down: a leg goes into the middle of the top, then the foot goes onto the leg's other end."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.tasks.assembly.parts import Insertion, Part
from embodkd.envs.tasks.assembly.shapes import box, cylinder
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.envs.tasks.assembly.waypoints import ANY_TURN, OPEN, Waypoint, grasp, pick, put, stay

LEG, TIP = 0.08, 0.016  # m: the whole leg, and the thinner end on each side of it
TIP_RADIUS, LEG_RADIUS = 0.01, 0.013
CLEARANCE = 0.0006  # m per side between a tip and its hole
HOLE = TIP - 0.001  # the tip stands on the floor of its hole before the thicker part meets the rim
BLOCK = 0.02  # half the width of the square block around a hole
DISC, DISC_RADIUS = 0.008, 0.05  # the top of the table
CAP, ARM = 0.006, 0.045  # the foot above its hole: how thick, and how far its four arms reach from the middle
GRASP = 0.045  # where the tool holds the leg, above its lower tip: the fingers stay clear of the top
_WOOD, _ORANGE, _GREEN = (0.72, 0.53, 0.33), (0.86, 0.45, 0.16), (0.27, 0.52, 0.4)


def _block(body: mujoco.MjsBody, floor: float, colour: tuple[float, float, float], mass: float = 0.0) -> None:
    """Four walls around a square hole, upwards from height ``floor``."""
    inner, half = TIP_RADIUS + CLEARANCE, HOLE / 2
    middle, wall = (BLOCK + inner) / 2, (BLOCK - inner) / 2
    for side in (-1, 1):
        box(body, (side * middle, 0, floor + half), (wall, inner, half), colour, mass=mass / 4, friction=0.3)
        box(body, (0, side * middle, floor + half), (BLOCK, wall, half), colour, mass=mass / 4, friction=0.3)


def _top(body: mujoco.MjsBody) -> None:
    cylinder(body, (0, 0, DISC / 2), DISC_RADIUS, DISC / 2, _WOOD, friction=0.3)
    _block(body, DISC, _WOOD)


def _foot(body: mujoco.MjsBody) -> None:
    _block(body, 0.0, _GREEN, mass=0.04)
    above = HOLE + CAP / 2
    box(body, (0, 0, above), (BLOCK, BLOCK, CAP / 2), _GREEN, mass=0.02, friction=0.3)
    for turn in (np.pi / 4, -np.pi / 4):
        # along the diagonals, so that fingers reach the faces of the block
        quat = (np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2))
        box(body, (0, 0, above), (ARM, 0.005, CAP / 2), _GREEN, mass=0.01, quat=quat, friction=0.3)


def _leg(body: mujoco.MjsBody) -> None:
    half = LEG / 2
    cylinder(body, (0, 0, half), LEG_RADIUS, half - TIP, _ORANGE, mass=0.06, friction=0.3)
    cylinder(body, (0, 0, half), TIP_RADIUS, half, _ORANGE, mass=0.02, friction=0.3)


class RoundTableLite(Assembly):
    """The top lies face down and is fixed, the leg stands and the foot lies beside it, hole down. Each end of the leg
    must be within 5 mm of its place, sideways and in height, and tilted by at most 19.9 degrees; all turns about the
    axis are alike (the card's round_table_lite)."""

    name = "round_table_lite"
    max_steps = 160
    parts = (
        Part("top", _top, spot=(0.075, 0.0), height=0.0, fixed=True, shift=0.5),
        Part("leg", _leg, spot=(-0.085, -0.075), height=0.0),
        Part("foot", _foot, spot=(-0.075, 0.075), height=0.0, shift=0.8),
    )
    pairs = (
        Insertion("top", "leg", height=DISC + 0.005, sideways=0.005, tilt=np.arccos(0.94)),
        Insertion("leg", "foot", height=LEG - HOLE + 0.005, sideways=0.005, tilt=np.arccos(0.94)),
    )

    def waypoints(self) -> tuple[Waypoint, ...]:
        """How the expert does it: the leg into the top, off it and up, the foot onto the leg."""
        return (
            *pick("leg", GRASP, turns=ANY_TURN),
            *put("leg", "top", mouth=DISC + HOLE, seat=DISC),
            Waypoint(stay(), OPEN, near=1.0, turned=1.0, hold=2, noise=0.0),
            Waypoint(grasp("leg", GRASP, lift=0.07, turns=ANY_TURN), OPEN, near=0.01, noise=0.003),
            *pick("foot", 0.011, turns=4),
            *put("foot", "leg", mouth=LEG, seat=LEG - HOLE),
        )

"""A loose 16 mm square peg is picked up and put into a socket with half a millimetre of play on each side."""

from __future__ import annotations

from functools import partial

import mujoco
from embodkd.envs.camera import KINDS
from embodkd.envs.tasks.assembly.parts import Insertion, Part
from embodkd.envs.tasks.assembly.shapes import box
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.envs.tasks.assembly.waypoints import Waypoint, pick, put
from embodkd.envs.tasks.peg_hole_scene import DEPTH, PEG_HALF_WIDTH, PEG_LENGTH, socket_walls

CLEARANCE = 0.0005  # m per side
_BLUE, _ORANGE = (0.2, 0.42, 0.66), (0.86, 0.45, 0.16)


def _socket(body: mujoco.MjsBody, clearance: float) -> None:
    for centre, half in socket_walls(clearance):
        box(body, centre, half, _BLUE, friction=0.3)


def _peg(body: mujoco.MjsBody) -> None:
    half = PEG_LENGTH / 2
    box(body, (0, 0, half), (PEG_HALF_WIDTH, PEG_HALF_WIDTH, half), _ORANGE, mass=0.05, friction=0.3)


class PegAssembly(Assembly):
    """The peg stands on the table; its tip must come within 2 mm of the socket's axis, 80 % deep, tilted at most 5
    degrees (the card's peg_hole)."""

    name = "peg_assembly"
    max_steps = 60
    parts = (
        Part("socket", partial(_socket, clearance=CLEARANCE), spot=(0.06, 0.0), height=0.0, fixed=True),
        Part("peg", _peg, spot=(-0.06, 0.0), height=0.0),
    )
    pairs = (Insertion("socket", "peg", height=0.2 * DEPTH),)
    shapes = KINDS

    def waypoints(self) -> tuple[Waypoint, ...]:
        """How the expert does it: over the peg, down, close, up, over the socket, in."""
        return (*pick("peg", PEG_LENGTH - 0.012, turns=4), *put("peg", "socket", mouth=DEPTH, seat=-0.007, turns=4))

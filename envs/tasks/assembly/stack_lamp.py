"""A lamp is stacked: a bulb goes into the socket of a heavy base, then a hood is put over the bulb."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.tasks.assembly.parts import Insertion, Pair, Part, Placement
from embodkd.envs.tasks.assembly.shapes import cylinder, ring, sphere
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.envs.tasks.assembly.waypoints import ANY_TURN, OPEN, Waypoint, grasp, pick, put, stay

SIDES = 8  # of the socket and of the hood
DISC, DISC_RADIUS = 0.012, 0.042  # m: the base under its socket
STEM, STEM_RADIUS = 0.02, 0.01  # the bulb's thread
GLASS, GLASS_RADIUS = 0.026, 0.014  # the bulb above its thread, without the half ball on top
CLEARANCE = 0.001  # per side between stem and socket
HOLE = STEM - 0.001  # the stem stands on the floor of the socket before the glass meets its rim
SOCKET = 0.024  # from the socket's axis to its outer faces
RIM = DISC + HOLE  # height of the socket's rim, where the hood stands
HOOD_PLAY, HOOD_WALL, CAP = 0.004, 0.005, 0.004  # between glass and hood per side; the hood's wall and its lid
HOOD = STEM - HOLE + GLASS + GLASS_RADIUS + 0.003  # inner height: the lid clears the bulb by 3 mm
_IRON, _BRASS, _GLASS, _RED = (0.3, 0.33, 0.38), (0.72, 0.55, 0.2), (0.93, 0.9, 0.72), (0.7, 0.2, 0.18)


def _base(body: mujoco.MjsBody) -> None:
    cylinder(body, (0, 0, DISC / 2), DISC_RADIUS, DISC / 2, _IRON, friction=0.3)
    ring(body, SIDES, (STEM_RADIUS + CLEARANCE, SOCKET), (DISC, RIM), _IRON)


def _bulb(body: mujoco.MjsBody) -> None:
    cylinder(body, (0, 0, STEM / 2), STEM_RADIUS, STEM / 2, _BRASS, mass=0.02, friction=0.3)
    cylinder(body, (0, 0, STEM + GLASS / 2), GLASS_RADIUS, GLASS / 2, _GLASS, mass=0.02, friction=0.3)
    sphere(body, (0, 0, STEM + GLASS), GLASS_RADIUS, _GLASS, mass=0.01, friction=0.3)


def _hood(body: mujoco.MjsBody) -> None:
    inner = GLASS_RADIUS + HOOD_PLAY
    ring(body, SIDES, (inner, inner + HOOD_WALL), (0.0, HOOD), _RED, mass=0.05)
    cylinder(body, (0, 0, HOOD + CAP / 2), inner + HOOD_WALL, CAP / 2, _RED, mass=0.02, friction=0.3)


class StackLamp(Assembly):
    """The base is fixed, the bulb stands and the hood lies beside it, open end down. The bulb must be within 5 mm of
    its seat, sideways and in height, and tilted by at most 19.9 degrees; the hood within 5 mm on each axis of where
    it stands on the socket's rim, however it is turned (the card's stack_lamp)."""

    name = "stack_lamp"
    max_steps = 160
    parts = (
        Part("base", _base, spot=(0.075, 0.0), height=0.0, fixed=True, shift=0.5),
        Part("bulb", _bulb, spot=(-0.085, -0.075), height=0.0),
        Part("hood", _hood, spot=(-0.075, 0.075), height=0.0),
    )
    bulb = Insertion("base", "bulb", height=DISC + 0.005, sideways=0.005, tilt=np.arccos(0.94))
    hood = Placement("base", "hood", (((0.0, 0.0, RIM), (1.0, 0.0, 0.0, 0.0)),), any_turn=True)
    pairs = (bulb, hood)

    def is_joined(self, pair: Pair) -> np.ndarray:
        """Whether a pair is together at this moment, (N,); a hood on an empty socket is not."""
        joined = super().is_joined(pair)
        return joined & super().is_joined(self.bulb) if pair is self.hood else joined

    def waypoints(self) -> tuple[Waypoint, ...]:
        """How the expert does it: the bulb into the socket, off it and up, the hood over the bulb."""
        hold = STEM + 0.016  # of the bulb: the fingers stay clear of the socket
        return (
            *pick("bulb", hold, turns=ANY_TURN),
            *put("bulb", "base", mouth=RIM, seat=DISC),
            Waypoint(stay(), OPEN, near=1.0, turned=1.0, hold=2, noise=0.0),
            Waypoint(grasp("bulb", hold, lift=0.07, turns=ANY_TURN), OPEN, near=0.01, noise=0.003),
            *pick("hood", 0.03, turns=SIDES),
            *put("hood", "base", mouth=RIM + HOOD, seat=RIM),
        )

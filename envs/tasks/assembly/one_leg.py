"""One leg of a table: it lies beside the top, is stood up, put into its hole and screwed in by a sixth of a turn."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec
from embodkd.envs.tasks.assembly.parts import Part, Poses
from embodkd.envs.tasks.assembly.screw import Screw
from embodkd.envs.tasks.assembly.shapes import box, capsule, cylinder
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.envs.tasks.assembly.waypoints import CLOSED, OPEN, Bench, Goal, Waypoint, about_z, stay

LEG, TIP = 0.09, 0.018  # m: the whole leg, and its thinner end
LEG_RADIUS, TIP_RADIUS = 0.013, 0.01
CLEARANCE = 0.0006  # m per side between tip and hole
TURN, TRAVEL = np.radians(60), 0.004  # the turn that is asked for, and how far it pulls the leg
PITCH = TRAVEL / TURN
TOP, EDGE, FAR = 0.026, 0.022, 0.068  # height of the top; from the hole's axis to its near and its far edges
WALL, FENCE = 0.01, 0.034  # the corner that holds the top: how thick and how high
SEAT = TOP - TIP  # height of the tip when the thicker part of the leg meets the top
CAUGHT = SEAT + TRAVEL  # and when the nut catches it
HOLD = 0.052 - LEG / 2  # where the hand holds the leg, above its middle: clear of the top, and upwards no further
# the hand leans by this much over the leg's upper end when it grasps, and by the rest of a right angle to the other
# side when the leg stands: an arm hardly reaches with a level hand; the camera on the hand stays above the table
LEAN = np.radians(55)
CLEAR = 0.003  # m: the hand holds the lying leg this far above its axis, so that tilted fingers clear the table
START = np.radians(30)  # the side, from x towards y, to which the hand leans when it starts to turn the leg
_COS, _SIN = np.sqrt(0.5) * np.cos(np.pi / 8), np.sqrt(0.5) * np.sin(np.pi / 8)
LYING = (_COS, _SIN, -_COS, _SIN)  # flat, the tip points between x and y
_WOOD, _ORANGE, _GREY = (0.72, 0.53, 0.33), (0.86, 0.45, 0.16), (0.4, 0.42, 0.45)


def _top(body: mujoco.MjsBody) -> None:
    inner, half, middle = TIP_RADIUS + CLEARANCE, TOP / 2, (FAR - EDGE) / 2
    for low, high in ((-EDGE, -inner), (inner, FAR)):
        centre, width = (low + high) / 2, (high - low) / 2
        box(body, (centre, middle, half), (width, (FAR + EDGE) / 2, half), _WOOD, friction=0.3)
        box(body, (0, centre, half), (inner, width, half), _WOOD, friction=0.3)
    across, length = FAR + WALL / 2, (FAR + EDGE) / 2
    box(body, (across, middle, FENCE / 2), (WALL / 2, length, FENCE / 2), _GREY)
    box(body, (middle + WALL / 2, across, FENCE / 2), (length + WALL / 2, WALL / 2, FENCE / 2), _GREY)


def _leg(body: mujoco.MjsBody) -> None:
    half = TIP / 2
    # a capsule, since a box touches it along a line, and a cylinder in one point only
    capsule(body, (0, 0, half), LEG_RADIUS, LEG / 2 - half - LEG_RADIUS, _ORANGE, mass=0.06, friction=0.3)
    cylinder(body, (0, 0, half - LEG / 2), TIP_RADIUS, half, _ORANGE, mass=0.02, friction=0.3)
    for geom in body.geoms:
        # a round leg that is pushed rolls, and comes to rest
        geom.condim, geom.friction[2] = 6, 1e-3


class OneLegLite(Assembly):
    """The top lies in a corner and is fixed, the leg lies beside it. Its middle must be within 5 mm of its place in
    the hole, sideways and in height, tilted by at most 19.9 degrees, and turned clockwise by 60 degrees since the
    nut caught it (the card's one_leg_lite)."""

    name = "one_leg_lite"
    max_steps = 90
    foot = -0.6  # nearer, its wrist comes to its limit where the hand leans over the lying leg
    parts = (
        Part("top", _top, spot=(0.045, 0.01), height=0.0, fixed=True, shift=0.3, twist=0.15),
        Part("leg", _leg, spot=(-0.075, -0.045), height=LEG_RADIUS, quat=LYING, shift=0.8),
    )
    pairs = (
        Screw(
            "top",
            "leg",
            height=SEAT + LEG / 2 + 0.005,
            sideways=0.005,
            tilt=np.arccos(0.94),
            start=CAUGHT + LEG / 2,
            tip=LEG / 2,
            pitch=PITCH,
            turn=TURN,
            radius=TIP_RADIUS,
        ),
    )

    def waypoints(self) -> tuple[Waypoint, ...]:
        """How the expert does it: the lying leg is grasped from above, stood up over the hole, put in and turned."""
        above = CAUGHT + LEG / 2
        return (
            Waypoint(_along(lift=0.06), OPEN, near=0.01, noise=0.003),
            Waypoint(_along(), OPEN, noise=0.001, speed=0.6),
            Waypoint(stay(), CLOSED, near=1.0, turned=1.0, hold=3, noise=0.0),
            Waypoint(_upright(above + 0.05), CLOSED, near=0.006, noise=0.003),
            Waypoint(_upright(TOP + LEG / 2 + 0.003), CLOSED, near=0.0015, turned=0.03, noise=0.0, speed=0.5),
            Waypoint(_upright(above - 0.003), CLOSED, near=0.0035, turned=0.1, noise=0.0, speed=0.3),
            Waypoint(_screwed(1.15 * TURN), CLOSED, noise=0.0, speed=0.5),
        )


def _along(lift: float = 0.0) -> Goal:
    """The tool over the lying leg, ``lift`` (m) above where it holds it, its x towards the tip and leaning away."""

    def goal(bench: Bench) -> Poses:
        leg = bench.part("leg")
        axis = leg.rotation[:, :, 2]
        yaw = np.arctan2(-axis[:, 1], -axis[:, 0])
        lean = matrix_from_quat(quat_from_rotvec(np.array([[0.0, -LEAN, 0.0]])))
        return Poses(leg.position + HOLD * axis + [0.0, 0.0, CLEAR + lift], about_z(yaw) @ lean)

    return goal


def _upright(height: float) -> Goal:
    """The tool where the held leg stands ``height`` (m) over the hole, the hand on the side where a turn starts."""

    def goal(bench: Bench) -> Poses:
        grip = bench.tool().within(bench.part("leg"))
        side = np.arctan2(grip.rotation[:, 1, 2], grip.rotation[:, 0, 2])
        place = bench.part("top").position + [0.0, 0.0, height]
        return Poses(place, about_z(START - side)).after(grip)

    return goal


def _screwed(turn: float) -> Goal:
    """The tool where the caught leg has been turned by ``turn`` (rad) in all, by as much as its height says is left."""

    def goal(bench: Bench) -> Poses:
        top, leg = bench.part("top"), bench.part("leg")
        end = top.position + [0.0, 0.0, CAUGHT + LEG / 2 - PITCH * turn]
        left = (leg.position - end)[:, 2] / PITCH
        return Poses(end, about_z(-left) @ leg.rotation).after(bench.tool().within(leg))

    return goal

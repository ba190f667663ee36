"""The Panda's body for MuJoCo, from public tables and primitive shapes: no asset package is needed."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from embodkd.envs.sim.robots.fingers import add_fingers, add_pad

HOME = (0.0, 0.15, 0.0, -2.5, 0.0, 2.65, 0.785)  # rad: hand down, low over the table half a metre ahead
POSTURE = (0.1, 1.0)  # Nm/rad, Nm s/rad: weak springs that only settle the redundant elbow
_FINGERTIP = 0.1034  # m from the hand's frame to the middle of the finger pads


class Link(NamedTuple):
    """A body of the chain: where its frame lies in the one before, mass (kg) and capsules (from, to, radius)."""

    position: tuple[float, float, float]
    turn: float  # rad about x
    mass: float
    limit: tuple[float, float]  # rad
    torque: float  # Nm
    capsules: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...]


_Q = np.pi / 2
# Frames and limits: Franka's published Denavit-Hartenberg table.  Masses: Gaz et al., IEEE RA-L 2019, rounded.
LINKS = (
    Link((0, 0, 0.333), 0, 4.97, (-2.897, 2.897), 87, (((0, 0, -0.19), (0, 0, -0.03), 0.056),)),
    Link(
        (0, 0, 0),
        -_Q,
        0.65,
        (-1.763, 1.763),
        87,
        (((0, 0, -0.06), (0, 0, 0.06), 0.056), ((0, 0, 0), (0, -0.13, 0), 0.052)),
    ),
    Link(
        (0, -0.316, 0),
        _Q,
        3.23,
        (-2.897, 2.897),
        87,
        (((0, 0, -0.17), (0, 0, -0.07), 0.05), ((0, 0, -0.06), (0.08, 0, 0), 0.05)),
    ),
    Link(
        (0.0825, 0, 0),
        _Q,
        3.59,
        (-3.072, -0.07),
        87,
        (((0, 0, -0.05), (0, 0, 0.05), 0.052), ((0, 0, 0), (-0.08, 0.1, 0), 0.048)),
    ),
    Link((-0.0825, 0.384, 0), -_Q, 1.23, (-2.897, 2.897), 12, (((0, 0, -0.27), (0, 0.02, -0.03), 0.047),)),
    Link(
        (0, 0, 0),
        _Q,
        1.67,
        (-0.017, 3.752),
        12,
        (((0, 0, -0.05), (0, 0, 0.03), 0.048), ((0, 0, 0), (0.07, 0, 0), 0.045)),
    ),
    Link((0.088, 0, 0), _Q, 0.74, (-2.897, 2.897), 12, (((0, 0, -0.03), (0, 0, 0.075), 0.04),)),
)


def add_arm(spec: mujoco.MjSpec, base: tuple[float, float, float]) -> mujoco.MjsBody:
    """Add seven links, weightless by compensation, with their foot at ``base`` (m); returns the last link."""
    spec.compiler.degree = False  # a model description reads angles in degrees unless told otherwise
    foot = spec.worldbody.add_body(name="panda", pos=base)
    _capsule(foot, (-0.05, 0, 0.06), (0, 0, 0.06), 0.06, mass=1.0)
    _capsule(foot, (0, 0, 0.06), (0, 0, 0.14), 0.058, mass=1.0)
    parent = foot
    for index, link in enumerate(LINKS):
        half = link.turn / 2
        parent = parent.add_body(name=f"link{index + 1}", pos=link.position, quat=[np.cos(half), np.sin(half), 0, 0])
        parent.gravcomp = 1.0
        parent.add_joint(
            name=f"joint{index + 1}",
            axis=[0, 0, 1],
            range=link.limit,
            limited=True,
            armature=0.1 if index < 4 else 0.05,
            stiffness=_linear(POSTURE[0]),
            damping=_linear(POSTURE[1]),
            springref=HOME[index],
            actfrclimited=True,
            actfrcrange=[-link.torque, link.torque],
        )
        for start, end, radius in link.capsules:
            _capsule(parent, start, end, radius, mass=link.mass / len(link.capsules))
    return parent


def add_hand(
    spec: mujoco.MjSpec, flange: mujoco.MjsBody, *, finger_damping: float | None, reach: float, tool_site: str
) -> mujoco.MjsBody:
    """Add hand and fingers (fixed without a damping); returns the massless body "tool" at the tool point, z up."""
    half = -np.pi / 8
    hand = flange.add_body(name="hand", pos=[0, 0, 0.107], quat=[np.cos(half), 0, 0, np.sin(half)])
    hand.gravcomp = 1.0
    box = mujoco.mjtGeom.mjGEOM_BOX
    hand.add_geom(
        name="palm", type=box, pos=[0, 0, 0.033], size=[0.022, 0.1, 0.025], mass=0.73, rgba=[0.9, 0.9, 0.92, 1]
    )
    if finger_damping is not None:
        add_fingers(spec, hand, slide=0.0584, pad=0.0317, damping=finger_damping)
    else:
        for side in (-1, 1):
            add_pad(hand, [0.0, side * 0.0157, 0.0901])
    holder = hand.add_body(name="tool", pos=[0, 0, _FINGERTIP + reach], quat=[0, 1, 0, 0])
    holder.gravcomp = 1.0
    holder.add_site(name=tool_site)
    return holder


def _capsule(
    body: mujoco.MjsBody, start: tuple[float, ...], end: tuple[float, ...], radius: float, *, mass: float
) -> None:
    """A link's shape: seen and weighed, but never touched (only hand and fingers collide)."""
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*start, *end],
        size=[radius, 0, 0],
        mass=mass,
        contype=0,
        conaffinity=0,
        group=1,
        rgba=[0.93, 0.93, 0.95, 1],
    )


def _linear(coefficient: float) -> list[float]:
    """MuJoCo keeps stiffness and damping as polynomials; this is the linear one."""
    return [coefficient, 0.0, 0.0]

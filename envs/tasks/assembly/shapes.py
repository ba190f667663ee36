"""Shapes that parts are built of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import mujoco
import numpy as np
from embodkd.envs.tasks.assembly.parts import UPRIGHT, Quat

Colour = tuple[float, float, float]


class Look(TypedDict, total=False):
    """What a shape has besides its size: mass (kg), turn (w, x, y, z), friction."""

    mass: float
    quat: Quat
    friction: float


def box(
    body: mujoco.MjsBody, centre: Sequence[float], half: Sequence[float], colour: Colour, **look: Unpack[Look]
) -> None:
    """Add a box; metres."""
    _add(body, mujoco.mjtGeom.mjGEOM_BOX, centre, half, colour, **look)


def cylinder(
    body: mujoco.MjsBody, centre: Sequence[float], radius: float, half: float, colour: Colour, **look: Unpack[Look]
) -> None:
    """Add a cylinder along its own z; metres."""
    _add(body, mujoco.mjtGeom.mjGEOM_CYLINDER, centre, [radius, half, 0.0], colour, **look)


def capsule(
    body: mujoco.MjsBody, centre: Sequence[float], radius: float, half: float, colour: Colour, **look: Unpack[Look]
) -> None:
    """Add a cylinder along its own z with a half ball on each end, which ``half`` leaves out; metres."""
    _add(body, mujoco.mjtGeom.mjGEOM_CAPSULE, centre, [radius, half, 0.0], colour, **look)


def sphere(body: mujoco.MjsBody, centre: Sequence[float], radius: float, colour: Colour, **look: Unpack[Look]) -> None:
    """Add a ball; metres."""
    _add(body, mujoco.mjtGeom.mjGEOM_SPHERE, centre, [radius, 0.0, 0.0], colour, **look)


def ring(
    body: mujoco.MjsBody,
    sides: int,
    radii: tuple[float, float],
    heights: tuple[float, float],
    colour: Colour,
    mass: float = 0.0,
) -> None:
    """Add walls around a hole with so many faces; ``radii`` from the axis to inner and outer faces, ``heights`` of
    their lower and upper ends (m), ``mass`` of all (kg)."""
    (inner, outer), (bottom, top) = radii, heights
    middle = (inner + outer) / 2
    half = ((outer - inner) / 2, outer * np.tan(np.pi / sides), (top - bottom) / 2)
    for angle in 2 * np.pi / sides * np.arange(sides):
        centre = (middle * np.cos(angle), middle * np.sin(angle), (bottom + top) / 2)
        turn = (np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2))
        box(body, centre, half, colour, mass=mass / sides, quat=turn, friction=0.3)


def _add(
    body: mujoco.MjsBody,
    kind: mujoco.mjtGeom,
    centre: Sequence[float],
    size: Sequence[float],
    colour: Colour,
    mass: float = 0.0,
    quat: Quat = UPRIGHT,
    friction: float = 0.5,
) -> None:
    body.add_geom(
        type=kind,
        pos=centre,
        quat=quat,
        size=size,
        mass=mass,
        rgba=[*colour, 1.0],
        friction=[friction, 0.005, 1e-4],
        condim=4,
    )

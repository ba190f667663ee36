"""What objects are made of: at most six convex solids each, with names, of which some must not be touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np

SLOTS = 6  # solids of an object, at most
Vector = tuple[float, float, float]
Quat = tuple[float, float, float, float]
_STRAIGHT = (1.0, 0.0, 0.0, 0.0)
_KINDS = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "hull": mujoco.mjtGeom.mjGEOM_MESH,
}


@dataclass(frozen=True, eq=False)
class Solid:
    """A convex part of an object, in the object's own axes (m).

    ``kind`` is box, cylinder, capsule, sphere or hull; ``size`` is MuJoCo's: half-lengths, or radius and half-length
    along z.  A hull is that of its ``corners`` (V, 3).  ``forbidden`` parts are to be left alone by whoever grasps.
    """

    kind: str
    size: Vector = (0.0, 0.0, 0.0)
    position: Vector = (0.0, 0.0, 0.0)
    quat: Quat = _STRAIGHT
    name: str = "body"
    forbidden: bool = False
    corners: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    @property
    def geom_type(self) -> int:
        """MuJoCo's number of the kind."""
        return int(_KINDS[self.kind])

    def called(self, name: str, *, forbidden: bool = False) -> Solid:
        """The same under another name."""
        return replace(self, name=name, forbidden=forbidden)

    def turned(self, axis: str, angle: float) -> Solid:
        """The same, turned in its place about one of the object's axes, rad."""
        half = np.zeros(3)
        half["xyz".index(axis)] = np.sin(angle / 2)
        product = np.zeros(4)
        mujoco.mju_mulQuat(product, np.array([np.cos(angle / 2), *half]), np.array(self.quat))
        w, x, y, z = product.tolist()
        return replace(self, quat=(w, x, y, z))

    def at(self, x: float, y: float, z: float) -> Solid:
        """The same elsewhere."""
        return replace(self, position=(x, y, z))


def box(x: float, y: float, z: float) -> Solid:
    """A box of these lengths."""
    return Solid("box", (x / 2, y / 2, z / 2))


def cylinder(width: float, height: float) -> Solid:
    """An upright cylinder of this diameter."""
    return Solid("cylinder", (width / 2, height / 2, 0.0))


def capsule(width: float, length: float) -> Solid:
    """An upright capsule of this diameter, its round ends included in the length."""
    return Solid("capsule", (width / 2, max(length - width, 1e-4) / 2, 0.0))


def sphere(width: float) -> Solid:
    """A sphere of this diameter."""
    return Solid("sphere", (width / 2, 0.0, 0.0))


def wall_ring(sides: int, width: float, height: float, thick: float) -> list[Solid]:
    """Upright walls around a regular polygon ``width`` across from side to side, from height 0 upwards."""
    reach, half = (width - thick) / 2, (width / 2) * np.tan(np.pi / sides)
    walls = []
    for k in range(sides):
        angle = 2 * np.pi * k / sides
        wall = box(thick, 2 * half, height).turned("z", angle)
        walls.append(wall.at(reach * np.cos(angle), reach * np.sin(angle), height / 2))
    return walls


@dataclass(frozen=True, eq=False)
class Thing:
    """An object: its own name, its class, its solids (at most ``SLOTS``), its mass in kg."""

    name: str
    kind: str
    solids: tuple[Solid, ...]
    mass: float

    def __post_init__(self) -> None:
        assert 0 < len(self.solids) <= SLOTS, f"{self.name} has {len(self.solids)} solids, of {SLOTS} at most"

    @classmethod
    def of(cls, name: str, kind: str, solids: Sequence[Solid], mass: float) -> Thing:
        """One of any sequence of solids."""
        return cls(name, kind, tuple(solids), mass)

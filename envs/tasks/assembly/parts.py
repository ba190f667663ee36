"""What an assembly is made of: parts on a table, and the pairs that count as assembled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np
from embodkd.envs.geometry import matrix_from_quat, unrotate

Quat = tuple[float, float, float, float]
UPRIGHT: Quat = (1.0, 0.0, 0.0, 0.0)
LIFTED = 0.01  # m above the place where a part stands or lies at the start


@dataclass(frozen=True)
class Part:
    """One body. ``shape`` adds its geoms to a body whose frame is the part's own.

    A ``fixed`` part stands where an episode puts it and cannot be moved; others are loose and fall under gravity.
    ``spot`` (x, y) and ``height`` are where its frame lies before randomisation, ``quat`` how it is turned there; an
    episode moves it by up to the task's reach times ``shift`` and turns it about the vertical by up to the task's
    turn times ``twist``.
    """

    name: str
    shape: Callable[[mujoco.MjsBody], None]
    spot: tuple[float, float]
    height: float
    quat: Quat = UPRIGHT
    fixed: bool = False
    shift: float = 1.0
    twist: float = 1.0


@dataclass(frozen=True)
class Poses:
    """Positions (N, 3) and rotations (N, 3, 3)."""

    position: np.ndarray
    rotation: np.ndarray

    def within(self, other: Poses) -> Poses:
        """These poses seen from ``other``."""
        return Poses(
            unrotate(other.rotation, self.position - other.position), np.swapaxes(other.rotation, 1, 2) @ self.rotation
        )

    def after(self, other: Poses) -> Poses:
        """``other``, seen from these, in the world."""
        moved = np.einsum("nij,nj->ni", self.rotation, other.position)
        return Poses(self.position + moved, self.rotation @ other.rotation)


class Pair(ABC):
    """When two parts count as assembled, judged from the pose of ``part`` in the frame of ``base``."""

    base: str
    part: str
    near: ClassVar[float] = 0.03
    """How close (m, sideways) to the base's axis the part is where it is about to be joined."""

    @abstractmethod
    def joined(self, relative: Poses) -> np.ndarray:
        """Whether each copy's pair is together, (N,)."""


@dataclass(frozen=True)
class Placement(Pair):
    """Together in any of the listed poses (position, quaternion), as FurnitureBench's simulator judges it.

    Each axis within ``tolerance`` (m) and each row of the relative rotation within ``cosine`` of the listed one;
    ``any_turn`` leaves the rotation out.
    """

    base: str
    part: str
    poses: tuple[tuple[tuple[float, float, float], Quat], ...]
    tolerance: float = 0.005
    cosine: float = 0.94
    any_turn: bool = False

    def joined(self, relative: Poses) -> np.ndarray:
        """Whether each copy's pair is together, (N,)."""
        found = np.zeros(len(relative.position), bool)
        for position, quat in self.poses:
            # the bound itself counts, whatever rounding makes of it
            near = (np.abs(relative.position - position) <= self.tolerance + 1e-9).all(axis=1)
            if not self.any_turn:
                rows = (relative.rotation * matrix_from_quat(np.array(quat))).sum(axis=2)
                near &= (rows >= self.cosine).all(axis=1)
            found |= near
        return found


@dataclass(frozen=True)
class Insertion(Pair):
    """A peg in a hole along the base's z: within ``sideways`` (m) of its axis, below ``height``, tilted by ``tilt``.

    The part's frame is at its lower tip; its own turn about z is free.
    """

    base: str
    part: str
    height: float
    sideways: float = 0.002
    tilt: float = np.radians(5)

    def joined(self, relative: Poses) -> np.ndarray:
        """Whether each copy's pair is together, (N,)."""
        near = np.hypot(relative.position[:, 0], relative.position[:, 1]) <= self.sideways
        upright = relative.rotation[:, 2, 2] >= np.cos(self.tilt)
        return near & upright & (relative.position[:, 2] <= self.height)

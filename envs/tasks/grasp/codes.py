"""Shape codes: an object as so many numbers, for policies that may know its shape.

A code is the distance from each of 32 fixed points to the object's surface, negative inside (m), in the object's axes
with its centre of mass at the origin: a basis point set (Prokudin et al., ICCV 2019, arXiv:1908.09186) with signs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from embodkd.envs.geometry import matrix_from_quat
from embodkd.envs.sim.distances import distance
from embodkd.envs.tasks.grasp.solids import Solid, Thing
from embodkd.envs.tasks.grasp.table import Table

SIZE = 32
REACH = 0.07  # m: the points fill a ball of this radius evenly


def points() -> np.ndarray:
    """The fixed points (SIZE, 3): a Fibonacci spiral of directions, radii of equal volumes."""
    k = np.arange(SIZE) + 0.5
    z = 1 - 2 * k / SIZE
    angle = np.pi * (1 + np.sqrt(5)) * k
    across = np.sqrt(1 - z * z)
    # neighbours on the spiral differ in radius, so that each direction is seen from near and far
    radius = REACH * (((7 * np.arange(SIZE)) % SIZE + 0.5) / SIZE) ** (1 / 3)
    return radius[:, None] * np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=1)


def codes(things: Sequence[Thing], table: Table) -> np.ndarray:
    """The codes of these objects, float (M, SIZE)."""
    where = points()
    return np.stack([_code(thing, table, row, where) for row, thing in enumerate(things)])


def _code(thing: Thing, table: Table, row: int, where: np.ndarray) -> np.ndarray:
    away = []
    for k, solid in enumerate(thing.solids):
        if solid.kind == "hull":
            away.append(_from_hull(solid, where + table["centre"][row]))
            continue
        turn = matrix_from_quat(table["geom_quat"][row, k])
        place = (where - table["geom_pos"][row, k]) @ turn
        away.append(distance(int(table["geom_type"][row, k]), table["geom_size"][row, k], place))
    return np.min(away, axis=0)


def _from_hull(solid: Solid, where: np.ndarray) -> np.ndarray:
    """Distances from a convex hull: exact inside and before its faces, the farthest face's beside edges and corners."""
    from scipy.spatial import ConvexHull

    planes = ConvexHull(solid.corners).equations
    return np.max(where @ planes[:, :3].T + planes[:, 3], axis=1)

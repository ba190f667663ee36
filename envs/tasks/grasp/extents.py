"""How far objects reach along a direction: their sizes as they lie, and where their lowest point is."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from embodkd.envs.geometry import matrix_from_quat
from embodkd.envs.tasks.grasp.solids import SLOTS, Thing
from embodkd.envs.tasks.grasp.table import Table

_GEOM = mujoco.mjtGeom


class Extents:
    """The support functions of all objects of a table."""

    def __init__(self, things: Sequence[Thing], table: Table) -> None:
        self._table, self._turn_MK33 = table, matrix_from_quat(table["geom_quat"])
        corners = [
            np.concatenate([np.zeros((0, 3)), *(s.corners for s in thing.solids if s.kind == "hull")]) - centre
            for thing, centre in zip(things, table["centre"], strict=True)
        ]
        most = max(len(each) for each in corners)
        self._corners_MV3 = np.zeros((len(things), most, 3))
        for row, each in enumerate(corners):
            if len(each):  # shorter lists end with their first corner, again and again
                self._corners_MV3[row] = np.concatenate([each, np.tile(each[:1], (most - len(each), 1))])

    def along(self, which: np.ndarray, direction_ND3: np.ndarray) -> np.ndarray:
        """How far the objects ``which`` (N,) reach from their frames along unit vectors in these, m, (N, D)."""
        found = np.full(direction_ND3.shape[:2], -np.inf)
        for k in range(SLOTS):
            kind, size = self._table["geom_type"][which, k, None], self._table["geom_size"][which, k][:, :, None]
            local = direction_ND3 @ self._turn_MK33[which, k]
            x, y, z = np.moveaxis(np.abs(local), -1, 0)
            across = np.hypot(x, y)
            reach = np.select(
                [kind == _GEOM.mjGEOM_BOX, kind == _GEOM.mjGEOM_CYLINDER, kind == _GEOM.mjGEOM_CAPSULE],
                [
                    x * size[:, 0] + y * size[:, 1] + z * size[:, 2],
                    across * size[:, 0] + z * size[:, 1],
                    size[:, 0] + z * size[:, 1],
                ],
                default=size[:, 0],
            )
            reach += (direction_ND3 @ self._table["geom_pos"][which, k, :, None])[..., 0]
            found = np.maximum(found, np.where(kind == _GEOM.mjGEOM_MESH, -np.inf, reach))
        if not self._corners_MV3.shape[1]:
            return found
        hull = (direction_ND3 @ np.swapaxes(self._corners_MV3[which], 1, 2)).max(axis=2)
        whole = (self._table["geom_type"][which] == _GEOM.mjGEOM_MESH).any(axis=1)
        return np.where(whole[:, None], np.maximum(found, hull), found)

"""The pixels of a picture, and which of them a geom may cover.

All is in the axes of the camera (x to the right, y upwards, -z ahead), for n geoms of one kind at once: one geom in
many copies, or several.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

PLANE, SPHERE, CAPSULE, CYLINDER, BOX = (
    int(getattr(mujoco.mjtGeom, f"mjGEOM_{name}")) for name in ("PLANE", "SPHERE", "CAPSULE", "CYLINDER", "BOX")
)
_CORNERS_83 = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, 8).T
_EDGES = np.array([(i, j) for i in range(8) for j in range(i) if (_CORNERS_83[i] != _CORNERS_83[j]).sum() == 1])
_NEAR, _MARGIN = 1e-6, 1e-6  # m ahead of the camera, and at unit depth: rectangles are a little too large
Window = tuple[slice, slice, slice]
"""Some of the geoms, rows and columns."""


@dataclass(frozen=True)
class Grid:
    """Where the rays of a picture are at unit depth, to the right (columns,) and upwards (rows,)."""

    x: np.ndarray
    y: np.ndarray
    dtype: type = np.float64

    def lines(self, vector: np.ndarray) -> Lines:
        """Products of vectors (..., 3) with the rays (x, y, -1)."""
        parts: np.ndarray = vector[..., None].astype(self.dtype)
        x: np.ndarray = self.x.astype(self.dtype)
        y: np.ndarray = self.y.astype(self.dtype)
        return Lines(parts[..., 0, :] * x, parts[..., 1, :] * y - parts[..., 2, :])


@dataclass(frozen=True)
class Lines:
    """Affine functions of the pixel: what its column (..., columns) and its row (..., rows) add to them."""

    across: np.ndarray
    down: np.ndarray

    def within(self, window: Window, *which: int) -> np.ndarray:
        """Values of one function of each of some geoms, (n, rows, columns)."""
        some, rows, columns = window
        return self.across[(*which, some, None, columns)] + self.down[(*which, some, rows, None)]

    def corners(self, window: Window) -> np.ndarray:
        """Values of F functions of each of some geoms at the corners, where their extremes are, (F, n, 4)."""
        some, rows, columns = window
        across = self.across[:, some, columns.start : columns.stop : max(1, columns.stop - columns.start - 1)]
        down = self.down[:, some, rows.start : rows.stop : max(1, rows.stop - rows.start - 1)]
        return (across[:, :, None, :] + down[:, :, :, None]).reshape(*across.shape[:2], -1)


@dataclass(frozen=True)
class Placed:
    """Geoms of one kind."""

    centre_n3: np.ndarray
    axes_n33: np.ndarray  # in columns
    size_n3: np.ndarray

    def along(self, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """One of their axes, (n, 3), and how far along it the centres lie, (n,)."""
        direction = self.axes_n33[:, :, axis]
        return direction, (direction * self.centre_n3).sum(axis=1)


def covered(kind: int, placed: Placed, grid: Grid) -> np.ndarray:
    """First and last (excluded) row and column that geoms may cover, (n, 4); all 0 for one that is out of sight."""
    if kind == PLANE:
        return np.tile([0, len(grid.y), 0, len(grid.x)], (len(placed.centre_n3), 1))
    half_n3 = _half(kind, placed.size_n3)
    # one product of plain matrices: many small ones would take longer
    along = (placed.axes_n33 * half_n3[:, None]).reshape(-1, 3) @ _CORNERS_83.T
    corners = np.swapaxes(placed.centre_n3[:, :, None] + along.reshape(-1, 3, 8), 1, 2)
    low, high = _reach(corners)
    # where an edge of the box around it leaves the space ahead of the camera, its end there counts
    if (partly := (corners[..., 2] > -_NEAR).any(axis=1)).any():
        one, two = corners[partly][:, _EDGES[:, 0]], corners[partly][:, _EDGES[:, 1]]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (-_NEAR - one[..., 2]) / (two[..., 2] - one[..., 2])
        cut = one + np.where((share > 0) & (share < 1), share, 0.0)[..., None] * (two - one)
        low[partly], high[partly] = _reach(np.concatenate([corners[partly], cut], axis=1))
    rows = np.searchsorted(-grid.y, -high[:, 1]), np.searchsorted(-grid.y, -low[:, 1])
    columns = np.searchsorted(grid.x, low[:, 0]), np.searchsorted(grid.x, high[:, 0])
    found = np.stack([*rows, *columns], axis=1)
    found[(found[:, 0] >= found[:, 1]) | (found[:, 2] >= found[:, 3])] = 0
    return found


def _reach(points_nP3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far points ahead of the camera reach at unit depth, a little more: least and greatest x and y, (n, 2)."""
    ahead = points_nP3[..., 2] <= -_NEAR * (1 - 1e-6)
    across = points_nP3[..., :2] / np.where(ahead, -points_nP3[..., 2], 1.0)[..., None]
    low = np.where(ahead[..., None], across, np.inf).min(axis=1) - _MARGIN
    return low, np.where(ahead[..., None], across, -np.inf).max(axis=1) + _MARGIN


def _half(kind: int, size_n3: np.ndarray) -> np.ndarray:
    """Half the sides of boxes around geoms."""
    radius, length = size_n3[:, :1], size_n3[:, 1:2]
    if kind == BOX:
        return size_n3
    reach = {SPHERE: radius, CYLINDER: length, CAPSULE: length + radius}[kind]
    return np.concatenate([radius, radius, reach], axis=1)

"""How far places are from the surfaces of simple shapes."""

from __future__ import annotations

import mujoco
import numpy as np

_GEOM = mujoco.mjtGeom


def distance(kind: int, size: np.ndarray, place: np.ndarray) -> np.ndarray:
    """How far places (..., 3) in a shape's frame are from its surface, m; negative inside.

    ``kind`` is MuJoCo's box, cylinder, capsule or sphere, ``size`` (3,) MuJoCo's.
    """
    x, y, z = np.moveaxis(np.abs(place), -1, 0)
    if kind == _GEOM.mjGEOM_SPHERE:
        return np.linalg.norm(place, axis=-1) - size[0]
    if kind == _GEOM.mjGEOM_CAPSULE:
        return np.hypot(np.hypot(x, y), np.maximum(z - size[1], 0.0)) - size[0]
    if kind == _GEOM.mjGEOM_BOX:
        over = np.stack([x, y, z], axis=-1) - size
    elif kind == _GEOM.mjGEOM_CYLINDER:
        over = np.stack([np.hypot(x, y), z], axis=-1) - size[:2]
    else:
        raise AssertionError(f"no distance from shapes of kind {kind}")
    return np.linalg.norm(np.maximum(over, 0.0), axis=-1) + np.minimum(over.max(axis=-1), 0.0)

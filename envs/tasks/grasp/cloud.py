"""Points that two cameras see above the table, whatever they belong to: what a robot has of an object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from embodkd.envs.camera import RayCamera
from embodkd.envs.geometry import unrotate
from embodkd.envs.robot import Tool
from embodkd.envs.spec import Group

POINTS = 192
GRID = (24, 24)  # rays of each camera, rows and columns
LOW, HIGH = (-0.2, -0.2, 0.004), (0.25, 0.2, 0.4)  # m: the part of the world that is looked at, the table left out
GROUP = Group(
    "points",
    (POINTS, 3),
    False,
    "m",
    "cloud of the front and side cameras above the table, in the tool's frame",
)


class Cloud:
    """The cloud of all cameras together.  Nothing says which point is the object's, and which the hand's."""

    def __init__(self, eyes: Sequence[RayCamera], robot: Tool) -> None:
        self._eyes, self._robot = eyes, robot

    def __call__(self, ids: np.ndarray | None) -> np.ndarray:
        """Points (n, POINTS, 3) in the tool's frame; a cloud of nothing is POINTS times the tool itself."""
        place, geom = self.seen(ids)
        chosen = slice(None) if ids is None else ids
        tool = unrotate(self._robot.rotation[chosen, None], place - self._robot.position[chosen, None])
        return np.where(geom[..., None] < 0, 0.0, tool).astype(np.float32)

    def seen(self, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The same points in the world (n, POINTS, 3), and the geom that each lies on (n, POINTS), -1 where there is
        none."""
        places, geoms = [], []
        for eye in self._eyes:
            origin, rotation = eye.pose(ids)
            ray = eye.camera.directions(*GRID) @ np.swapaxes(rotation, 1, 2)
            depth, geom = eye.hits(origin, rotation, ray, ids, normals=False)[:2]
            places.append(origin[:, None] + depth[..., None] * ray)
            geoms.append(geom)
        place, geom = np.concatenate(places, axis=1), np.concatenate(geoms, axis=1)
        fit = (geom >= 0) & (place > LOW).all(axis=2) & (place < HIGH).all(axis=2)
        geom = np.where(fit, geom, -1)
        # of those that fit, in the order of the rays, evenly spread ones; too few are taken several times
        order = np.argsort(~fit, axis=1, kind="stable")
        count = fit.sum(axis=1, keepdims=True)
        taken = np.take_along_axis(order, np.arange(POINTS) * np.maximum(count, 1) // POINTS, axis=1)
        return np.take_along_axis(place, taken[..., None], axis=1), np.take_along_axis(geom, taken, axis=1)

"""Cameras by rays, in any engine: depth, segmentation, shaded colour and point clouds with no graphics stack at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from embodkd.envs import draws
from embodkd.envs.geometry import look_at, matrix_from_quat, quat_from_rotvec, rotate
from embodkd.envs.randomise import Randomise
from embodkd.envs.state import below, restore, saved, under

SKY = np.array([0.55, 0.65, 0.75])
SUN = np.array([0.3, -0.4, 1.0])  # towards the light
AMBIENT, DIFFUSE = 0.35, 0.65  # how much of a colour is seen in the dark, and how much more in full light

By = Literal["auto", "rays", "shapes"]
"""How a camera sees: by a ray per pixel, by the shapes of what it shows, or as is cheaper."""
Kind = Literal["depth", "segmentation", "rgb", "points"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_DRAWN = {name: name for name in ("_shift_N3", "_turn_N33", "_light_N3", "_albedo_NG3")}


@dataclass(frozen=True)
class Camera:
    """A pinhole camera fixed to a body (or to the world when ``body`` is ""), looking from ``position`` at ``target``,
    both in metres in that body's frame.  Depth between ``near`` and ``far`` maps linearly to 0..255; an empty ray
    reads 255.  ``size`` is the side of the square image in pixels, ``fovy`` the field of view in degrees.  ``shapes``
    are the kinds of picture that cost less by shapes than by rays when `python -m benchmarks camera` was run."""

    name: str
    body: str
    position: tuple[float, float, float]
    target: tuple[float, float, float]
    near: float
    far: float
    fovy: float = 40.0
    size: int = 48
    hidden_groups: tuple[int, ...] = ()
    shapes: tuple[Kind, ...] = ("depth", "segmentation", "rgb")

    def axes(self, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the rays are at unit depth, to the right (columns,) and upwards (rows,), from the top left."""
        half = np.tan(np.radians(self.fovy) / 2)
        x = half * (2 * (np.arange(columns) + 0.5) / columns - 1)
        return x, half * (1 - 2 * (np.arange(rows) + 0.5) / rows)

    def directions(self, rows: int, columns: int) -> np.ndarray:
        """Ray directions in the camera's frame with unit depth, (rows * columns, 3), row by row from the top left."""
        x, y = self.axes(rows, columns)
        grid_y, grid_x = np.meshgrid(y, x, indexing="ij")
        return np.stack([grid_x, grid_y, -np.ones_like(grid_x)], axis=-1).reshape(-1, 3)


class RayCamera(ABC):
    """One ``Camera`` on N copies of a scene; every method takes copy ids (None for all) and returns fresh arrays.

    An engine says where the camera's body is and what rays hit; ``colours_G3`` are those of its geoms.
    """

    def __init__(self, camera: Camera, colours_G3: np.ndarray, count: int, randomise: Randomise) -> None:
        self.camera, self._nominal, self._randomise = camera, colours_G3, randomise
        self._rotation = look_at(np.array(camera.position), np.array(camera.target))
        self._directions: dict[tuple[int, int], np.ndarray] = {}
        self._shift_N3 = np.zeros((count, 3))
        self._turn_N33 = np.tile(np.eye(3), (count, 1, 1))
        self._light_N3 = np.tile(_unit(SUN), (count, 1))
        self._albedo_NG3 = np.tile(colours_G3, (count, 1, 1))

    @abstractmethod
    def body_pose(self, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Position (n, 3) and rotation (n, 3, 3) of the body that carries the camera; the world's are 0 and 1."""

    @abstractmethod
    def hits(
        self, origin: np.ndarray, rotation: np.ndarray, vector: np.ndarray, ids: np.ndarray | None, *, normals: bool
    ) -> tuple[np.ndarray, ...]:
        """Distances in lengths of the vectors (n, R; -1 for a miss) and geom ids (n, R; -1) of rays from ``origin``
        (n, 3) along ``vector`` (n, R, 3), and unit normals (n, R, 3) if asked for; ``rotation`` is the camera's."""

    def place(self, ids: np.ndarray, seeds: np.ndarray) -> None:
        """Draw the looks of new episodes: camera pose, light and colours (see ``Randomise``)."""
        how, stream = self._randomise, f"camera/{self.camera.name}"
        if how.camera_position:
            self._shift_N3[ids] = how.camera_position * draws.normal(seeds, stream + "/position", 3)
        if how.camera_rotation:
            turn = how.camera_rotation * draws.normal(seeds, stream + "/rotation", 3)
            self._turn_N33[ids] = matrix_from_quat(quat_from_rotvec(turn))
        if how.light:
            tilt = how.light * draws.uniform(seeds, "light", 3, low=-1.0)
            self._light_N3[ids] = _unit(SUN + tilt)
        if how.colours:
            geoms = self._nominal.shape[0]
            colour = draws.uniform(seeds, "colours", 3 * geoms).reshape(len(ids), geoms, 3)
            self._albedo_NG3[ids] = (1 - how.colours) * self._nominal + how.colours * colour

    def pose(self, ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Where the camera is now: position (n, 3) and rotation (n, 3, 3), columns as in ``look_at``."""
        chosen = slice(None) if ids is None else ids
        place, turn = self.body_pose(ids)
        offset = np.asarray(self.camera.position) + self._shift_N3[chosen]
        return place + rotate(turn, offset), turn @ (self._turn_N33[chosen] @ self._rotation)

    def looks(self, ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors towards the light (n, 3) and colours of the geoms (n, ngeom, 3), as drawn for the episodes."""
        chosen = slice(None) if ids is None else ids
        return self._light_N3[chosen], self._albedo_NG3[chosen]

    def depth(self, ids: np.ndarray | None = None) -> np.ndarray:
        """Depth along the optical axis as bytes, (n, 1, H, W)."""
        size = self.camera.size
        # a byte of depth is far coarser than a float
        scaled = self._depths(ids, size, size, np.float32, "depth")
        scaled -= self.camera.near
        scaled *= 255.0 / (self.camera.far - self.camera.near)
        return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8).reshape(-1, 1, size, size)

    def segmentation(self, ids: np.ndarray | None = None) -> np.ndarray:
        """Geom id plus one as bytes (0 where a ray hits nothing), (n, 1, H, W)."""
        size = self.camera.size
        return (self._named(ids, size) + 1).astype(np.uint8).reshape(-1, 1, size, size)

    def rgb(self, ids: np.ndarray | None = None, size: int | None = None) -> np.ndarray:
        """Colours shaded by one distant light, bytes (n, 3, H, W)."""
        size = size or self.camera.size
        light, colours = self.looks(ids)
        geom, facing = (values.reshape(len(light), -1) for values in self._lit(ids, size, light))
        # the sky is one more geom, which shines by itself
        colours = np.concatenate([np.broadcast_to(SKY, (len(light), 1, 3)), colours], axis=1)
        bright = AMBIENT + DIFFUSE * np.maximum(facing, 0)
        bright[geom < 0] = 1.0
        colour = np.take_along_axis(colours, geom[..., None] + 1, axis=1) * bright[..., None]
        return np.moveaxis((255 * colour).astype(np.uint8).reshape(-1, size, size, 3), -1, 1)

    def points(self, ids: np.ndarray | None = None, rows: int = 16, columns: int = 32) -> np.ndarray:
        """A cloud of rows * columns points in the camera's frame, metres, float32 (n, P, 3); misses lie at ``far``."""
        depth = np.minimum(self._depths(ids, rows, columns, np.float64, "points"), self.camera.far)
        return (depth.reshape(-1, rows * columns, 1) * self._rays(rows, columns)).astype(np.float32)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The looks drawn for the running episodes."""
        return under(self.camera.name, saved(self, _DRAWN))

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        restore(self, _DRAWN, below(self.camera.name, arrays))

    def _depths(self, ids: np.ndarray | None, rows: int, columns: int, dtype: type, kind: Kind) -> np.ndarray:
        """Depth along the optical axis, metres, (n, rows, columns); infinite where nothing is.

        It is needed for pictures of one ``kind``, to the precision of ``dtype``.
        """
        # an engine measures along the given vector in its own units: with unit depth that is the depth itself
        distance = self._cast(ids, rows, columns)[0]
        distance[distance < 0] = np.inf
        return distance.reshape(-1, rows, columns)

    def _named(self, ids: np.ndarray | None, size: int) -> np.ndarray:
        """Geom ids, (n, H, W); -1 where nothing is."""
        return self._cast(ids, size, size)[1]

    def _lit(self, ids: np.ndarray | None, size: int, light_n3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Geom ids, and how much the surface at each pixel faces a light (the cosine of the angle), (n, H, W)."""
        _, geom, normal = self._cast(ids, size, size, normals=True)
        return geom, np.einsum("nri,ni->nr", normal, light_n3)

    def _cast(
        self, ids: np.ndarray | None, rows: int, columns: int, *, normals: bool = False
    ) -> tuple[np.ndarray, ...]:
        origin, rotation = self.pose(ids)
        vector = self._rays(rows, columns) @ np.swapaxes(rotation, 1, 2)
        return self.hits(origin, rotation, vector, ids, normals=normals)

    def _rays(self, rows: int, columns: int) -> np.ndarray:
        if (rows, columns) not in self._directions:
            self._directions[rows, columns] = self.camera.directions(rows, columns)
        return self._directions[rows, columns]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)

"""Cameras by rays, in any engine: depth, segmentation, shaded colour and point clouds with no graphics stack at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from embodkd.envs import draws
from embodkd.envs.geometry import look_at, matrix_from_quat, quat_from_rotvec, rotate
from embodkd.envs.looks import Looks, shades
from embodkd.envs.randomise import Randomise

By = Literal["auto", "rays", "shapes"]
"""How a camera sees: by a ray per pixel, by the shapes of what it shows, or as is cheaper."""
Kind = Literal["depth", "segmentation", "rgb", "points"]
KINDS: tuple[Kind, ...] = get_args(Kind)


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

    An engine says where bodies are and what rays hit; ``colours_G3`` are those of its geoms, ``bodies_G`` whose these
    are.
    """

    def __init__(
        self, camera: Camera, colours_G3: np.ndarray, bodies_G: np.ndarray, count: int, randomise: Randomise
    ) -> None:
        self.camera, self._randomise = camera, randomise
        self.looks = Looks(randomise, colours_G3, bodies_G, count)
        self._rotation = look_at(np.array(camera.position), np.array(camera.target))
        self._directions: dict[tuple[int, int], np.ndarray] = {}
        self._shift_N3 = np.zeros((count, 3))
        self._turn_N33 = np.tile(np.eye(3), (count, 1, 1))

    @abstractmethod
    def body_pose(self, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Position (n, 3) and rotation (n, 3, 3) of the body that carries the camera; the world's are 0 and 1."""

    @abstractmethod
    def hits(
        self, origin: np.ndarray, rotation: np.ndarray, vector: np.ndarray, ids: np.ndarray | None, *, normals: bool
    ) -> tuple[np.ndarray, ...]:
        """Distances in lengths of the vectors (n, R; -1 for a miss) and geom ids (n, R; -1) of rays from ``origin``
        (n, 3) along ``vector`` (n, R, 3), and unit normals (n, R, 3) if asked for; ``rotation`` is the camera's."""

    @abstractmethod
    def places(self, bodies: np.ndarray, ids: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n, B, 3) and rotations (n, B, 3, 3) of the bodies with these numbers, as in ``bodies_G``."""

    def place(self, ids: np.ndarray, keys: np.ndarray) -> None:
        """Draw the looks of copies ``ids`` from a key each: light, colours, textures, the camera's pose (see
        ``Randomise``).  All cameras of a scene draw the same but for their poses."""
        how, stream = self._randomise, f"camera/{self.camera.name}"
        if how.camera_position:
            reach = how.drawn(keys, "camera_position", 1, stream + "/reach")
            self._shift_N3[ids] = reach * _anywhere(keys, stream + "/position")
        if how.camera_rotation:
            angle = how.drawn(keys, "camera_rotation", 1, stream + "/angle")
            turn = angle * _anywhere(keys, stream + "/rotation")
            self._turn_N33[ids] = matrix_from_quat(quat_from_rotvec(turn))
        self.looks.draw(ids, keys)

    def pose(self, ids: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Where the camera is now: position (n, 3) and rotation (n, 3, 3), columns as in ``look_at``."""
        chosen = slice(None) if ids is None else ids
        place, turn = self.body_pose(ids)
        offset = np.asarray(self.camera.position) + self._shift_N3[chosen]
        return place + rotate(turn, offset), turn @ (self._turn_N33[chosen] @ self._rotation)

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
        """Colours and textures lit by one distant light, bytes (n, 3, H, W)."""
        size, looks = size or self.camera.size, self.looks
        chosen = slice(None) if ids is None else ids
        sky, albedo, ambient = looks.sky_N3[chosen], looks.albedo_NG3[chosen], looks.ambient_N[chosen, None]
        sun, textured = looks.sun_N3[chosen], bool(self._randomise.textures)
        seen = self._lit(ids, size, sun, deep=textured)
        geom, facing, *depth = (values.reshape(len(sun), -1) for values in seen)
        # the sky is one more geom, which shines by itself
        colours = np.concatenate([sky[:, None], albedo], axis=1)
        if looks.shines:
            colours[:, 1:] *= looks.glow_N3[chosen, None]
        bright = ambient + (1 - ambient) * np.maximum(facing, 0)
        bright[geom < 0] = 1.0
        if textured:
            owner = np.where(geom < 0, -1, looks.owner_G[geom])
            patterns = looks.of(chosen)
            places = self.places(looks.bodies, ids)
            bright *= shades(self._randomise, patterns, owner, places, self.pose(ids), self._rays(size, size), *depth)
        colour = np.take_along_axis(colours, geom[..., None] + 1, axis=1) * bright[..., None]
        if looks.shines or textured:
            np.minimum(colour, 1.0, out=colour)
        return np.moveaxis((255 * colour).astype(np.uint8).reshape(-1, size, size, 3), -1, 1)

    def points(self, ids: np.ndarray | None = None, rows: int = 16, columns: int = 32) -> np.ndarray:
        """A cloud of rows * columns points in the camera's frame, metres, float32 (n, P, 3); misses lie at ``far``."""
        depth = np.minimum(self._depths(ids, rows, columns, np.float64, "points"), self.camera.far)
        return (depth.reshape(-1, rows * columns, 1) * self._rays(rows, columns)).astype(np.float32)

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

    def _lit(
        self, ids: np.ndarray | None, size: int, light_n3: np.ndarray, *, deep: bool = False
    ) -> tuple[np.ndarray, ...]:
        """Geom ids, how much the surface at each pixel faces a light (the cosine of the angle), and where it must be
        ``deep`` the depth (anything where nothing is), (n, H, W)."""
        depth, geom, normal = self._cast(ids, size, size, normals=True)
        facing = np.einsum("nri,ni->nr", normal, light_n3)
        return (geom, facing, depth) if deep else (geom, facing)

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


def _anywhere(keys: np.ndarray, stream: str) -> np.ndarray:
    """Unit vectors in any direction, (n, 3)."""
    vector = draws.normal(keys, stream, 3)
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)

"""Rays against boxes, cylinders, capsules and spheres, in closed form.

PyBullet has a ray test, but it stops up to a millimetre before a surface, which is centimetres along a grazing ray, and
takes ten times as long.  Bullet decides where the bodies are; what a camera sees of simple shapes in those places needs
no iteration.  Exact hits also make the pictures of both engines the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from embodkd.envs.bullet.scene import KINDS
from embodkd.envs.geometry import unrotate


class Entry(NamedTuple):
    """Where rays enter a shape: distance (R,; inf for a miss) and the outward normal (3, R), both in its frame."""

    distance_R: np.ndarray
    normal_3R: np.ndarray


def cast(
    origin_3: np.ndarray,
    vector_R3: np.ndarray,
    kind_G: np.ndarray,
    size_G3: np.ndarray,
    centre_G3: np.ndarray,
    rotation_G33: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest of G shapes on each ray from ``origin_3`` along ``vector_R3``.

    Shape g is of ``KINDS[kind_G[g]]`` and ``size_G3[g]`` (as in ``Shape``).  Gives distances in lengths of the vectors
    (R,; -1 for a miss), shape ids (R,; -1) and unit normals in the world (R, 3).  A shape that contains the origin is
    not seen.
    """
    count = len(vector_R3)
    best_R, shape_R, normal_R3 = np.full(count, np.inf), np.full(count, -1), np.zeros((count, 3))
    # axes before rays: reducing over the axes is then three long operations and not R short ones
    vector_3R = np.ascontiguousarray(vector_R3.T)
    start_G3 = unrotate(rotation_G33, origin_3 - centre_G3)
    for shape, (kind, size) in enumerate(zip(kind_G, size_G3, strict=True)):
        rotation = rotation_G33[shape]
        enter = _SHAPES[KINDS[kind]](start_G3[shape], rotation.T @ vector_3R, size)
        closer = np.flatnonzero(enter.distance_R < best_R)
        best_R[closer], shape_R[closer] = enter.distance_R[closer], shape
        normal_R3[closer] = (rotation @ enter.normal_3R[:, closer]).T
    return np.where(shape_R >= 0, best_R, -1.0), shape_R, normal_R3


def _box(start_3: np.ndarray, vector_3R: np.ndarray, half_3: np.ndarray) -> Entry:
    # a ray parallel to a face must miss or pass the slab, not divide by zero
    vector_3R = np.where(np.abs(vector_3R) < 1e-12, 1e-12, vector_3R)
    inverse = 1.0 / vector_3R
    middle, reach = -start_3[:, None] * inverse, half_3[:, None] * np.abs(inverse)
    near, leave = middle - reach, (middle + reach).min(axis=0)
    enter, axis, ray = near.max(axis=0), near.argmax(axis=0), np.arange(near.shape[1])
    normal = np.zeros_like(near)
    normal[axis, ray] = -np.sign(vector_3R[axis, ray])
    return Entry(np.where((enter >= 0) & (enter <= leave), enter, np.inf), normal)


def _sphere(start_3: np.ndarray, vector_3R: np.ndarray, size_3: np.ndarray) -> Entry:
    distance = _round(start_3, vector_3R, size_3[0])
    return Entry(distance, _hit(start_3, vector_3R, distance) / size_3[0])


def _cylinder(start_3: np.ndarray, vector_3R: np.ndarray, size_3: np.ndarray) -> Entry:
    radius, half = size_3[:2]
    side = _side(start_3, vector_3R, radius, half)
    # only the end that faces the ray can be where it enters
    climb = np.where(np.abs(vector_3R[2]) < 1e-12, 1e-12, vector_3R[2])
    end = (-np.sign(climb) * half - start_3[2]) / climb
    across = start_3[:2, None] + end * vector_3R[:2]
    end = np.where((end >= 0) & ((across * across).sum(axis=0) <= radius**2), end, np.inf)
    distance = np.minimum(side, end)
    normal = _hit(start_3, vector_3R, distance) / radius
    normal[2] = 0.0
    return Entry(distance, np.where(end < side, -np.sign(climb) * [[0.0], [0.0], [1.0]], normal))


def _capsule(start_3: np.ndarray, vector_3R: np.ndarray, size_3: np.ndarray) -> Entry:
    radius, half = size_3[:2]
    distance = _side(start_3, vector_3R, radius, half)
    for sign in (-1.0, 1.0):
        ball = _round(start_3 - [0.0, 0.0, sign * half], vector_3R, radius)
        outer = sign * _hit(start_3, vector_3R, ball)[2] >= half
        distance = np.minimum(distance, np.where(outer, ball, np.inf))
    normal = _hit(start_3, vector_3R, distance)
    normal[2] -= np.clip(normal[2], -half, half)
    return Entry(distance, normal / radius)


_SHAPES = {"box": _box, "cylinder": _cylinder, "capsule": _capsule, "sphere": _sphere}


def _round(start: np.ndarray, vector: np.ndarray, radius: float) -> np.ndarray:
    """First meeting with a circle or ball about the origin, by the rows of ``vector``; inf for none ahead."""
    a = np.maximum((vector * vector).sum(axis=0), 1e-24)
    b = start @ vector
    under = b * b - a * (start @ start - radius**2)
    distance = (-b - np.sqrt(np.maximum(under, 0.0))) / a
    return np.where((under >= 0) & (distance >= 0), distance, np.inf)


def _side(start_3: np.ndarray, vector_3R: np.ndarray, radius: float, half: float) -> np.ndarray:
    distance = _round(start_3[:2], vector_3R[:2], radius)
    return np.where(np.abs(_hit(start_3, vector_3R, distance)[2]) <= half, distance, np.inf)


def _hit(start_3: np.ndarray, vector_3R: np.ndarray, distance_R: np.ndarray) -> np.ndarray:
    return start_3[:, None] + np.where(np.isfinite(distance_R), distance_R, 0.0) * vector_3R

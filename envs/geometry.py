"""Rotations of whole batches, in numpy: matrices (N, 3, 3), unit quaternions (w, x, y, z), rotation vectors in rad."""

from __future__ import annotations

import numpy as np


def quat_from_rotvec(rotvec_N3: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) of rotation vectors."""
    angle_N1 = np.linalg.norm(rotvec_N3, axis=-1, keepdims=True)
    half = 0.5 * angle_N1
    # sin(x/2)/x, by its series near zero
    scale = np.where(angle_N1 > 1e-6, np.sin(half) / np.maximum(angle_N1, 1e-12), 0.5 - angle_N1**2 / 48.0)
    return np.concatenate([np.cos(half), scale * rotvec_N3], axis=-1)


def rotvec_from_quat(quat_N4: np.ndarray) -> np.ndarray:
    """Rotation vectors (N, 3) with angle in [0, pi]."""
    quat_N4 = np.where(quat_N4[..., :1] < 0, -quat_N4, quat_N4)
    vector = quat_N4[..., 1:]
    sine = np.linalg.norm(vector, axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quat_N4[..., :1])
    return vector * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-12), 2.0)


def quat_multiply(a_N4: np.ndarray, b_N4: np.ndarray) -> np.ndarray:
    """The rotation ``b`` followed by ``a``."""
    aw, ax, ay, az = np.moveaxis(a_N4, -1, 0)
    bw, bx, by, bz = np.moveaxis(b_N4, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def matrix_from_quat(quat_N4: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 3, 3)."""
    w, x, y, z = np.moveaxis(quat_N4, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rotate(matrix_N33: np.ndarray, vector_N3: np.ndarray) -> np.ndarray:
    """Matrix times vector, row by row."""
    return np.einsum("...ij,...j->...i", matrix_N33, vector_N3)


def unrotate(matrix_N33: np.ndarray, vector_N3: np.ndarray) -> np.ndarray:
    """Transposed matrix times vector, row by row."""
    return np.einsum("...ji,...j->...i", matrix_N33, vector_N3)


def look_at(position: np.ndarray, target: np.ndarray, up: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> np.ndarray:
    """Camera rotation (3, 3): columns are image right, image up and backwards (a camera looks along its -z)."""
    backward = np.asarray(position, float) - np.asarray(target, float)
    backward /= np.linalg.norm(backward)
    right = np.cross(up, backward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward], axis=1)

"""Rotations of whole batches, in numpy: matrices (N, 3, 3), unit quaternions (w, x, y, z), rotation vectors in rad."""

from __future__ import annotations

import numpy as np


def quat_from_rotvec(rotvec_N3: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) of rotation vectors."""
    angle_N1 = np.sqrt((rotvec_N3 * rotvec_N3).sum(axis=-1, keepdims=True))
    half = 0.5 * angle_N1
    # sin(x/2)/x, by its series near zero
    scale = np.where(angle_N1 > 1e-6, np.sin(half) / np.maximum(angle_N1, 1e-12), 0.5 - angle_N1**2 / 48.0)
    return np.concatenate((np.cos(half), scale * rotvec_N3), axis=-1)


def rotvec_about_z(yaw_N: np.ndarray) -> np.ndarray:
    """Rotation vectors (N, 3) of turns about the vertical."""
    rotvec = np.zeros((len(yaw_N), 3))
    rotvec[:, 2] = yaw_N
    return rotvec


def rotvec_from_quat(quat_N4: np.ndarray) -> np.ndarray:
    """Rotation vectors (N, 3) with angle in [0, pi]."""
    cosine, vector = quat_N4[..., :1], quat_N4[..., 1:]
    vector = np.where(cosine < 0, -vector, vector)
    sine = np.sqrt((vector * vector).sum(axis=-1, keepdims=True))
    angle = 2.0 * np.arctan2(sine, np.abs(cosine))
    return vector * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-12), 2.0)


def quat_multiply(a_N4: np.ndarray, b_N4: np.ndarray) -> np.ndarray:
    """The rotation ``b`` followed by ``a``."""
    aw, ax, ay, az = (a_N4[..., i] for i in range(4))
    bw, bx, by, bz = (b_N4[..., i] for i in range(4))
    product = np.empty(np.broadcast_shapes(a_N4.shape, b_N4.shape))
    product[..., 0] = aw * bw - ax * bx - ay * by - az * bz
    product[..., 1] = aw * bx + ax * bw + ay * bz - az * by
    product[..., 2] = aw * by - ax * bz + ay * bw + az * bx
    product[..., 3] = aw * bz + ax * by - ay * bx + az * bw
    return product


def turn_between(start_N4: np.ndarray, end_N4: np.ndarray) -> np.ndarray:
    """The shortest turn from one rotation to another, a rotation vector (N, 3) along the axes of ``start``.

    It is the logarithm of the relative rotation.  What two rotation vectors differ by is not: near a half turn one of
    them may point the other way.
    """
    return rotvec_from_quat(quat_multiply(start_N4 * [1.0, -1.0, -1.0, -1.0], end_N4))


def matrix_from_quat(quat_N4: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 3, 3)."""
    w, x, y, z = (quat_N4[..., i] for i in range(4))
    matrix = np.empty((*quat_N4.shape[:-1], 3, 3))
    matrix[..., 0, 0] = 1 - 2 * (y * y + z * z)
    matrix[..., 0, 1] = 2 * (x * y - w * z)
    matrix[..., 0, 2] = 2 * (x * z + w * y)
    matrix[..., 1, 0] = 2 * (x * y + w * z)
    matrix[..., 1, 1] = 1 - 2 * (x * x + z * z)
    matrix[..., 1, 2] = 2 * (y * z - w * x)
    matrix[..., 2, 0] = 2 * (x * z - w * y)
    matrix[..., 2, 1] = 2 * (y * z + w * x)
    matrix[..., 2, 2] = 1 - 2 * (x * x + y * y)
    return matrix


def quat_from_matrix(matrix_N33: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) of rotation matrices, by Shepperd's choice of the largest component."""
    m = matrix_N33
    squares = np.empty((len(m), 4))
    squares[:, 0] = 1 + m[:, 0, 0] + m[:, 1, 1] + m[:, 2, 2]
    for i in range(3):
        squares[:, 1 + i] = 2 + 2 * m[:, i, i] - squares[:, 0]
    # row k of the table is the quaternion times four times its component k: the largest divides best
    table = np.empty((len(m), 4, 4))
    table[:, range(4), range(4)] = squares
    table[:, 0, 1] = table[:, 1, 0] = m[:, 2, 1] - m[:, 1, 2]
    table[:, 0, 2] = table[:, 2, 0] = m[:, 0, 2] - m[:, 2, 0]
    table[:, 0, 3] = table[:, 3, 0] = m[:, 1, 0] - m[:, 0, 1]
    table[:, 1, 2] = table[:, 2, 1] = m[:, 0, 1] + m[:, 1, 0]
    table[:, 1, 3] = table[:, 3, 1] = m[:, 0, 2] + m[:, 2, 0]
    table[:, 2, 3] = table[:, 3, 2] = m[:, 1, 2] + m[:, 2, 1]
    quat = table[np.arange(len(m)), np.argmax(squares, axis=1)]
    return quat / np.sqrt((quat * quat).sum(axis=1, keepdims=True))


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


def rot6d_from_matrix(matrix_N33: np.ndarray) -> np.ndarray:
    """The first two rows of rotation matrices, one after the other, (N, 6) (Zhou et al., CVPR 2019, by rows)."""
    return matrix_N33[..., :2, :].reshape(*matrix_N33.shape[:-2], 6)


def matrix_from_rot6d(rot6d_N6: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 3, 3): the two rows orthonormalised in their order, the third is their cross product."""
    first, second = rot6d_N6[..., :3], rot6d_N6[..., 3:]
    x = first / np.sqrt((first * first).sum(axis=-1, keepdims=True))
    y = second - (x * second).sum(axis=-1, keepdims=True) * x
    y /= np.sqrt((y * y).sum(axis=-1, keepdims=True))
    return np.stack([x, y, np.cross(x, y)], axis=-2)

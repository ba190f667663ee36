"""Rotations in torch: matrices (..., 3, 3), quaternions (..., 4) as x, y, z, w, Euler angles, an even grid of SO(3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def about(axis: str, angle: Tensor) -> Tensor:
    """Matrices (..., 3, 3) of turns by `angle` (rad) about the axis x, y or z."""
    fixed = "xyz".index(axis)
    a, b = [i for i in range(3) if i != fixed]
    sign = -1.0 if axis == "y" else 1.0
    matrix = torch.zeros(*angle.shape, 3, 3, dtype=angle.dtype, device=angle.device)
    matrix[..., fixed, fixed] = 1.0
    matrix[..., a, a] = matrix[..., b, b] = angle.cos()
    matrix[..., b, a] = sign * angle.sin()
    matrix[..., a, b] = -sign * angle.sin()
    return matrix


def matrix_of(quat: Tensor) -> Tensor:
    """Matrices (..., 3, 3) of unit quaternions x, y, z, w."""
    x, y, z, w = quat.unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """The rotation `b` followed by `a`, quaternions (..., 4)."""
    vector_a, w_a, vector_b, w_b = a[..., :3], a[..., 3:], b[..., :3], b[..., 3:]
    vector = w_a * vector_b + w_b * vector_a + torch.linalg.cross(vector_a, vector_b)
    return torch.cat([vector, w_a * w_b - (vector_a * vector_b).sum(-1, keepdim=True)], -1)


def conjugate(quat: Tensor) -> Tensor:
    """The inverse of unit quaternions."""
    return quat * quat.new_tensor([-1.0, -1.0, -1.0, 1.0])


def from_euler(angles: Tensor) -> Tensor:
    """Quaternions (..., 4) of turns about the fixed axes x, then y, then z, by `angles` (..., 3) in rad."""
    parts = []
    for i in range(3):
        part = torch.zeros(*angles.shape[:-1], 4, dtype=angles.dtype, device=angles.device)
        part[..., i] = (0.5 * angles[..., i]).sin()
        part[..., 3] = (0.5 * angles[..., i]).cos()
        parts.append(part)
    return multiply(parts[2], multiply(parts[1], parts[0]))


def yaw_of(quat: Tensor) -> Tensor:
    """The last of those three angles, about z, in (-pi, pi]."""
    x, y, z, w = quat.unbind(-1)
    return torch.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def angle_of(quat: Tensor) -> Tensor:
    """How far each rotation turns, 2 asin(min(1, |vector part|)) in [0, pi]: a quaternion and its negative alike."""
    return 2.0 * torch.linalg.vector_norm(quat[..., :3], dim=-1).clamp(max=1.0).asin()


def random_rotations(count: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """(count, 3, 3) of uniform distribution: directions of normal draws in four dimensions."""
    normal_N4 = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    return matrix_of(normal_N4 / torch.linalg.vector_norm(normal_N4, dim=-1, keepdim=True)).to(like)


def directions(level: int) -> tuple[Tensor, Tensor]:
    """Azimuth and polar angle (12 * 4 ** level,) of the centres of HEALPix's equal areas, ring by ring.

    nside is 2 ** level. Source: Gorski et al. 2005, eq. 4-9.
    """
    side = 2**level
    azimuths, cosines = [], []
    for ring in range(1, 4 * side):
        north = min(ring, 4 * side - ring)
        if north < side:
            cosine, count, start = 1.0 - north**2 / (3.0 * side**2), 4 * north, 0.5
            cosine = cosine if ring < 2 * side else -cosine
        else:
            cosine, count = 4.0 / 3.0 - 2.0 * ring / (3.0 * side), 4 * side
            start = 1.0 - 0.5 * ((ring - side + 1) % 2)
        azimuths.append((torch.arange(count, dtype=torch.float64) + start) % count * 2.0 * math.pi / count)
        cosines.append(torch.full((count,), cosine, dtype=torch.float64))
    return torch.cat(azimuths), torch.cat(cosines).acos()


def grid(level: int) -> Tensor:
    """(72 * 8 ** level, 3, 3): rotations that share SO(3) out evenly, R_x(azimuth) R_z(polar) R_x(tilt), tilts from 0.

    Source: Yershova et al. 2010; the order of axes is that of GraspIPDF's released code.
    """
    azimuth_D, polar_D = directions(level)
    tilts = 6 * 2**level
    tilt_T = torch.arange(tilts, dtype=torch.float64) * 2.0 * math.pi / tilts
    direction_D33 = about("x", azimuth_D) @ about("z", polar_D)
    return (direction_D33[:, None] @ about("x", tilt_T)[None]).flatten(0, 1)

"""Directions in a space of embeddings: what a linear layer does not read, where a cloud varies, random turns."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.rng import seeded


def null_projector(weight_CD: Tensor) -> Tensor:
    """I - W^+ W, the projector (D, D) on the directions that leave W x as it is; float64.

    The identity where W reads all of them, so that there is always something left to project on.
    """
    weight_CD = weight_CD.detach().double()
    identity_DD = torch.eye(weight_CD.shape[1], dtype=torch.float64, device=weight_CD.device)
    if torch.linalg.matrix_rank(weight_CD) == weight_CD.shape[1]:
        return identity_DD
    return identity_DD - torch.linalg.pinv(weight_CD) @ weight_CD


def principal_directions(rows_ND: Tensor, count: int, where: str) -> Tensor:
    """The `count` orthonormal directions of largest variance of centred rows, (count, D), largest first.

    The largest entry of each is positive, so the order of the rows does not matter. ValueError that begins with
    `where` if the rows do not vary in that many directions.
    """
    _, size, direction_KD = torch.linalg.svd(rows_ND, full_matrices=False)
    # Rounding leaves sizes of about eps * largest where there is no variance at all.
    rank = int((size > max(rows_ND.shape) * torch.finfo(size.dtype).eps * size[:1]).sum())
    if count > rank:
        raise ValueError(
            f"{where}: {len(rows_ND)} items vary in {rank} directions, {count} are asked for; ask for fewer"
        )
    direction_KD = direction_KD[:count]
    largest_K1 = direction_KD.abs().argmax(1, keepdim=True)
    return direction_KD * direction_KD.gather(1, largest_K1).sign()


def random_directions(count: int, projector_DD: Tensor, *key: int) -> Tensor:
    """`count` random orthonormal directions (count, D) of the projector's space, a function of `key` alone.

    ValueError if that space has fewer.
    """
    rank = round(float(projector_DD.trace()))
    if count > rank:
        raise ValueError(f"{count} directions are asked for in a space of {rank}; ask for fewer")
    with seeded(*key):
        drawn_DK = torch.randn(len(projector_DD), count, dtype=torch.float64).to(projector_DD.device)
    return torch.linalg.qr(projector_DD @ drawn_DK).Q.T


def random_rotation(size: int, *key: int) -> Tensor:
    """A random orthonormal matrix (size, size), uniform over all of them, float64, a function of `key` alone."""
    with seeded(*key):
        turned, triangle = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))
    # Without the signs the result would depend on how the decomposition chooses them.
    return turned * torch.diagonal(triangle).sign()

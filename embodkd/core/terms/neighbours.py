"""The graph of nearest neighbours among all tokens of a batch, and how well a student keeps it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from embodkd.core.batch.whole import over_the_batch
from embodkd.core.terms.base import TERMS, bounded, power, precise, unit
from embodkd.core.terms.logits import kl


def squared_distances(rows_MD: Tensor) -> Tensor:
    """|x_i - x_j|^2, (M, M), without the rounding of |x|^2 - 2 x.y + |y|^2."""
    return torch.cdist(rows_MD, rows_MD, compute_mode="donot_use_mm_for_euclid_dist").square()


def nearest(squared_MM: Tensor, count: int) -> Tensor:
    """True at (i, j) where i is among the `count` nearest of j, itself not counted: (M, M) bool."""
    items = len(squared_MM)
    count = min(count, items - 1)
    itself = torch.eye(items, dtype=torch.bool, device=squared_MM.device)
    index_KM = squared_MM.masked_fill(itself, torch.inf).topk(count, dim=0, largest=False).indices
    return torch.zeros_like(itself).scatter(0, index_KM, True)


def gaussian_edges(
    rows_MD: Tensor, count: int, *, width: float | None = None, by: Literal["column", "row"] = "column"
) -> Tensor:
    """A_ij = exp(-|x_i - x_j|^2 / (2 width)) where i is among the `count` nearest of j ("row": j of i), else 0: (M, M).

    Note width, not its square. None: the mean |x_i - x_j|^2 over the edges, without gradient, so that scale is of no
    matter. The choice of neighbours has no gradient either.
    """
    rows_MD = precise(rows_MD)
    # Distances in units of the largest entry: their squares must not overflow.
    size = power(rows_MD)
    squared_MM = squared_distances(rows_MD / size)
    chosen_MM = nearest(squared_MM.detach(), count)
    if by == "row":
        chosen_MM = chosen_MM.T
    edges_MM = torch.where(chosen_MM, squared_MM, 0.0)
    mean = edges_MM.detach().sum() / chosen_MM.sum().clamp(min=1)
    # All neighbours in one place have no width of their own.
    own = torch.where(mean > 0, mean, 1.0) if width is None else (width / size / size).clamp(1e-30, 1e30)
    return torch.where(chosen_MM, torch.exp(-edges_MM / (2.0 * own)), 0.0)


@TERMS.register("neighbour_kl", inputs="tokens", minimum="zero", relational=True)
@over_the_batch
def neighbour_kl(
    tokens_NRD: Tensor,
    target_NRD: Tensor,
    *,
    neighbours: int = 8,
    width: float | None = None,
    by: Literal["column", "row"] = "column",
    normalise: bool = False,
    student_first: bool = True,
    temperature: float = 1.0,
    detach_target: bool = True,
) -> Tensor:
    """Mean over an item's tokens i of KL(softmax_j A_ij of the student || of the target), A being `gaussian_edges`.

    Shapes: (N, R, D), (N, R, any) -> (N,); the graph has all N * R tokens, zeros take part in the softmax. Minimum 0 at
    equality up to an orthogonal map and, with width None, a scale. normalise: tokens to length 1 first. student_first:
    False is KL(target || student). temperature: of both softmaxes; A lies in [0, 1], so 1 is nearly flat.
    Source: Zhang et al. 2023 (TRG, arXiv:2306.12442), local preserving loss.
    """
    _same_places(tokens_NRD, target_NRD, "neighbour_kl")
    target_NRD = target_NRD.detach() if detach_target else target_NRD
    pair = [precise(z).flatten(0, 1) for z in (tokens_NRD, target_NRD)]
    s_MM, t_MM = (gaussian_edges(unit(z) if normalise else z, neighbours, width=width, by=by) for z in pair)
    values_M = kl(
        s_MM, t_MM, temperature=temperature, scale_by_t2=False, reverse=student_first, detach_target=detach_target
    )
    return values_M.unflatten(0, tokens_NRD.shape[:2]).mean(1)


@TERMS.register("affinity_error", inputs="tokens", minimum="zero", relational=True)
def affinity_error(tokens_NRD: Tensor, target_NRD: Tensor, *, detach_target: bool = True) -> Tensor:
    """Mean squared difference of the two sides' softmax over rows of F F^T / sqrt(D), F an item's own tokens.

    Shapes: (N, R, D), (N, R, any) -> (N,), each side with its own D. Minimum 0 at equality up to an orthogonal map.
    Source: Zhang et al. 2023 (TRG, arXiv:2306.12442), contextual loss.
    """
    _same_places(tokens_NRD, target_NRD, "affinity_error")
    target_NRD = target_NRD.detach() if detach_target else target_NRD
    s_NRR, t_NRR = (_affinities(z) for z in (tokens_NRD, target_NRD))
    return (s_NRR - t_NRR).square().mean((1, 2))


def _affinities(tokens_NRD: Tensor) -> Tensor:
    """The softmax over each row of an item's inner products, (N, R, R)."""
    size_N11 = power(tokens_NRD, (1, 2))
    small_NRD = tokens_NRD / size_N11
    # One factor after the other: the square of the size alone may be infinite where a product is 0.
    product_NRR = small_NRD @ small_NRD.transpose(1, 2) * size_N11 * size_N11
    return bounded(product_NRR / tokens_NRD.shape[-1] ** 0.5).softmax(-1)


def _same_places(tokens_NRD: Tensor, target_NRD: Tensor, what: str) -> None:
    if tokens_NRD.ndim != 3 or tokens_NRD.shape[:2] != target_NRD.shape[:2]:
        found = f"student has shape {tuple(tokens_NRD.shape)}, target {tuple(target_NRD.shape)}"
        raise ValueError(f"{what}: {found}; tokens are (N, R, D) with the same N and R")

"""Correlations of an item's channels, as DisWOT's distiller compares them."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.terms.base import TERMS, unit

FLOOR = 1e-6
"""Rows shorter than this share of the item's longest one say nothing about their direction."""


@TERMS.register("channel_correlation", inputs="maps", minimum="zero")
def channel_correlation(value: Tensor, target: Tensor, *, detach_target: bool = True) -> Tensor:
    """Squared distance of the sides' rows of inner products of an item's channels, each of length 1, mean over rows.

    Shapes: (N, D, ...), (N, D, any) -> (N,): positions are flattened, and both sides may have any number of them. Rows
    of a student's channel that is dead, 0 at all positions, count for nothing: to scale them up would make gradients
    explode. In [0, 4]; 0 where one side is the other, scaled, or with its positions turned.
    Source: Liu et al. 2021 (ICKD, arXiv:2202.03680), rows scaled as in DisWOT (arXiv:2303.15678).
    """
    if value.ndim < 2 or target.ndim < 2 or value.shape[:2] != target.shape[:2]:
        shapes = f"shape {tuple(value.shape)}, the target {tuple(target.shape)}"
        raise ValueError(f"channel_correlation: the student has {shapes}; both need the same items and channels")
    target = target.detach() if detach_target else target
    (own_NDD, alive_ND), (other_NDD, _) = _correlations(value), _correlations(target)
    apart_ND = (own_NDD - other_NDD).square().sum(-1)
    return torch.where(alive_ND, apart_ND, 0.0).mean(-1)


def _correlations(map_NDP: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (N, D, D), and which of them are long enough to have a direction (N, D)."""
    map_NDP = map_NDP.flatten(2) if map_NDP.ndim > 2 else map_NDP.unsqueeze(-1)
    # The largest entry scales to 1 first: products of large numbers overflow.
    map_NDP = map_NDP / map_NDP.detach().abs().amax((1, 2), keepdim=True).clamp(min=1e-30)
    gram_NDD = map_NDP @ map_NDP.transpose(1, 2)
    length_ND = torch.linalg.vector_norm(gram_NDD.detach(), dim=-1)
    alive_ND = length_ND > FLOOR * length_ND.amax(1, keepdim=True)
    return unit(torch.where(alive_ND.unsqueeze(-1), gram_NDD, 0.0)), alive_ND

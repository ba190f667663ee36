"""Distances between two tensors of the same shape, averaged over an item's entries."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.terms.base import TERMS, blank, item_mean, same_shape


@TERMS.register("squared_error", inputs="vectors", minimum="zero")
def squared_error(value: Tensor, target: Tensor, *, detach_target: bool = True, mask: Tensor | None = None) -> Tensor:
    """Mean over an item's entries of (value - target)^2.

    Shapes: (N, ..., D), (N, ..., D) -> (N,); `mask` (N, ...) marks valid positions. Minimum 0 at equality.
    """
    return item_mean(_difference(value, target, detach_target, mask).square(), mask)


@TERMS.register("smooth_l1", inputs="vectors", minimum="zero")
def smooth_l1(
    value: Tensor, target: Tensor, *, beta: float = 1.0, detach_target: bool = True, mask: Tensor | None = None
) -> Tensor:
    """Mean over an item's entries of |d| - beta/2 where |d| >= beta, d^2 / (2 beta) below (Girshick 2015, eq. 3).

    Shapes: (N, ..., D), (N, ..., D) -> (N,); `mask` (N, ...) marks valid positions. Minimum 0 at equality.
    beta has the unit of the values and must be positive.
    """
    if beta <= 0:
        raise ValueError(f"smooth_l1: beta must be positive, got {beta}")
    size = _difference(value, target, detach_target, mask).abs()
    # The clamp keeps the square of a huge difference, which is not used, from overflowing into the gradient.
    near = size.clamp(max=beta).square() / (2.0 * beta)
    return item_mean(torch.where(size < beta, near, size - beta / 2.0), mask)


def _difference(value: Tensor, target: Tensor, detach_target: bool, mask: Tensor | None) -> Tensor:
    same_shape(value, target, "regression term")
    target = target.detach() if detach_target else target
    return blank(value, mask) - blank(target, mask)

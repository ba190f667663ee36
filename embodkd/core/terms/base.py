"""What all terms share: their registry, the mean over an item's valid positions, the precision they work in."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.config.registry import Registry

TERMS = Registry("term")
"""Every term, with `inputs=` (what its arguments are) and `minimum=` (its value at student == teacher), which the
conformance tests read: a registered term is a tested term."""


def item_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean over all axes but the first, counting only positions where `mask` is True: (N, ...) -> (N,).

    `mask` has the leading axes of `values`. An item without any valid position gives 0.
    """
    if mask is None:
        return values.flatten(1).mean(1) if values.ndim > 1 else values
    if values.shape[: mask.ndim] != mask.shape:
        raise ValueError(f"mask of shape {tuple(mask.shape)} does not fit values of shape {tuple(values.shape)}")
    wide = widen(mask, values)
    kept = torch.where(wide, values, 0.0).flatten(1).sum(1) if values.ndim > 1 else torch.where(wide, values, 0.0)
    count = wide.expand_as(values).flatten(1).sum(1) if values.ndim > 1 else wide
    return kept / count.clamp(min=1)


def widen(mask: Tensor, like: Tensor) -> Tensor:
    """`mask` as booleans, with trailing axes of length 1 so that it broadcasts against `like`."""
    return mask.bool().reshape(mask.shape + (1,) * (like.ndim - mask.ndim))


def blank(values: Tensor, mask: Tensor | None) -> Tensor:
    """`values` with padding set to 0 before any arithmetic, so that rubbish there (even NaN) sends no gradient."""
    return values if mask is None else torch.where(widen(mask, values), values, 0.0)


def precise(values: Tensor) -> Tensor:
    """Half precision is lifted to float32; float32 and float64 stay."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def unit(values: Tensor) -> Tensor:
    """Rows of length 1 along the last axis; a zero row stays zero, and its gradient finite."""
    size = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return values / torch.where(size > 0, size, 1.0)


def same_shape(a: Tensor, b: Tensor, what: str) -> None:
    """ValueError when two tensors that are compared differ in shape (no silent broadcasting)."""
    if a.shape != b.shape:
        raise ValueError(f"{what}: student has shape {tuple(a.shape)}, target {tuple(b.shape)}; they must agree")

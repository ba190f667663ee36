"""Patch tokens: maps and transformers' tokens brought onto one grid, so that two networks' correspond by place."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.batch.whole import drawn
from embodkd.core.signals import Signals
from embodkd.core.terms.base import precise
from embodkd.core.transfer import sent


def grid_tokens(feature: Tensor, grid: int) -> Tensor:
    """One token per cell of a grid x grid raster, row by row: (N, grid^2, D), in float32 at least.

    A map (N, D, H, W) is averaged within cells, or repeated if it is smaller. Of a transformer's tokens
    (N, 1 + side^2, D) the class token is dropped and the rest is such a map. ValueError for other shapes.
    """
    feature = precise(feature)
    if feature.ndim == 3:
        side = math.isqrt(feature.shape[1] - 1)
        if side * side != feature.shape[1] - 1:
            raise ValueError(f"{feature.shape[1]} tokens are not a class token and a square of patches")
        feature = feature[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    if feature.ndim != 4:
        raise ValueError(f"a feature of shape {tuple(feature.shape)} is neither a map nor tokens; tap an earlier layer")
    return F.adaptive_avg_pool2d(feature, grid).flatten(2).transpose(1, 2)


def token_width(shape: tuple[int, ...]) -> int:
    """D of `grid_tokens` for a feature of this shape per item."""
    return shape[0] if len(shape) == 3 else shape[-1]


def random_places(grid: int, count: int) -> Callable[[Signals], dict[str, Tensor]]:
    """A Stage.prepare: the field `place` (N, count), different cells of the grid drawn on the CPU for each item."""
    if not 1 <= count <= grid * grid:
        raise ValueError(f"{count} tokens of a {grid} x {grid} grid: needs 1 to {grid * grid}")

    def prepare(batch: Signals) -> dict[str, Tensor]:
        first = next(iter(batch.values()))
        score_NG = drawn(len(first), lambda items: torch.rand(items, grid * grid))
        return {"place": sent(score_NG.argsort(1)[:, :count], first.device)}

    return prepare


def at_places(tokens_NGD: Tensor, place_NR: Tensor) -> Tensor:
    """The tokens at an item's places: (N, G, D), (N, R) -> (N, R, D)."""
    return tokens_NGD.gather(1, place_NR.unsqueeze(-1).expand(-1, -1, tokens_NGD.shape[-1]))

"""How far two decoders are apart about the same anchors."""

from __future__ import annotations

from torch import Tensor

from embodkd.core import Signals

MASKED = ("colour", "rotation", "scale")


def disagreement(s: Signals, m: Signals) -> Tensor:
    """Per view, (N,): the squared differences of colour, rotation and scale, over the Gaussians that the first one
    draws, plus those of opacity, over all of the anchors in the picture; each the mean over its own numbers, 0 of none.

    s: `view` (N, A), `drawn` (N, A, K), both bool, and what its decoder says; m: what the other one says.
    """
    every_NAK = s["view"][..., None].expand_as(s["drawn"])
    parts = [mean_over((s[name] - m[name]).square().mean(-1), s["drawn"]) for name in MASKED]
    opacity_N = mean_over((s["opacity"] - m["opacity"]).square(), every_NAK)
    return parts[0] + parts[1] + parts[2] + opacity_N


def mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Per item, (N,): the mean of `values` (N, ...) where `mask` is true, 0 where it is nowhere."""
    counted = values.where(mask, 0.0).flatten(1).sum(1)
    return counted / mask.flatten(1).sum(1).clamp(min=1)

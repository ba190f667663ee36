"""How much of each: the best point on the line between two answers."""

from __future__ import annotations

from torch import Tensor


def best_share(first: Tensor, second: Tensor, wanted: Tensor, *, clip: bool = True) -> float:
    """argmin over s of |s * first + (1 - s) * second - wanted|^2, three tensors of one shape.

    With `clip` in [0, 1]; the squared distance is convex, so the clipped share is the best one there. Where the two
    answers agree every share is as good, and it is 1. ValueError if the shapes differ. Source: Borup and Andersen
    2021 (arXiv:2102.13088), where `first` learned from labels alone and `second` from a teacher alone.
    """
    if not first.shape == second.shape == wanted.shape:
        shapes = ", ".join(str(tuple(x.shape)) for x in (first, second, wanted))
        raise ValueError(f"best_share: needs three tensors of one shape, got {shapes}")
    apart = (first - second).double().flatten()
    length = float(apart @ apart)
    if length == 0.0:
        return 1.0
    share = float(apart @ (wanted - second).double().flatten()) / length
    return min(max(share, 0.0), 1.0) if clip else share

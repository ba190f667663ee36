"""Similarities of the items of a batch, as the similarity-preserving loss compares them."""

from __future__ import annotations

from torch import Tensor

from embodkd.core.batch.whole import over_the_batch
from embodkd.core.terms.base import TERMS, unit


@TERMS.register("similarity", inputs="vectors", minimum="zero", relational=True)
@over_the_batch
def similarity(value: Tensor, target: Tensor, *, detach_target: bool = True) -> Tensor:
    """Squared distance of the sides' rows of inner products with all items, each row of length 1, divided by N.

    Shapes: (N, ...), (N, any) -> (N,): items are flattened, and both sides may have widths of their own. In [0, 4 / N];
    0 where one side is the other, turned or scaled. Source: Tung and Mori 2019 (SP, arXiv:1907.09682), eq. 2-4.
    """
    if value.ndim < 2 or target.ndim < 2 or len(value) != len(target):
        shapes = f"shape {tuple(value.shape)}, the target {tuple(target.shape)}"
        raise ValueError(f"similarity: the student has {shapes}; one row per item is needed of both")
    target = target.detach() if detach_target else target
    own_NN, other_NN = (_gram(x.flatten(1)) for x in (value, target))
    return (own_NN - other_NN).square().mean(-1)


def _gram(rows_ND: Tensor) -> Tensor:
    # The largest entry scales to 1 first: rows are compared by direction, and products of large numbers overflow.
    largest = rows_ND.detach().abs().amax().clamp(min=1e-30)
    rows_ND = rows_ND / largest
    return unit(rows_ND @ rows_ND.T)

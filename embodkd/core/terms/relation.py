"""Relations among the items of a batch: distances and angles, which a student can share in a space of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.batch.whole import over_the_batch
from embodkd.core.terms.base import TERMS, power, unit


@TERMS.register("distance_relation", inputs="vectors", minimum="zero", relational=True)
@over_the_batch
def distance_relation(value_ND: Tensor, target_ND: Tensor, *, detach_target: bool = True) -> Tensor:
    """Mean over all items of smooth L1 between the two sides' distances to them, each over its mean distance.

    Shapes: (N, D), (N, any) -> (N,): both sides may have widths of their own. Minimum 0 where one side is the other,
    moved, turned or scaled. Source: Park et al. 2019 (RKD, arXiv:1904.05068), eq. 5-8.
    """
    own_ND, other_ND = _pair(value_ND, target_ND, detach_target, "distance_relation")
    return F.smooth_l1_loss(_distances(own_ND), _distances(other_ND), reduction="none").mean(-1)


@TERMS.register("angle_relation", inputs="vectors", minimum="zero", relational=True)
@over_the_batch
def angle_relation(value_ND: Tensor, target_ND: Tensor, *, detach_target: bool = True) -> Tensor:
    """Mean over all pairs of items of smooth L1 between the two sides' cosines of the angle at an item to the pair.

    Shapes: (N, D), (N, any) -> (N,); memory grows with N^3. Minimum 0 where one side is the other, moved, turned or
    scaled. Source: Park et al. 2019 (RKD, arXiv:1904.05068), eq. 9-10.
    """
    own_ND, other_ND = _pair(value_ND, target_ND, detach_target, "angle_relation")
    return F.smooth_l1_loss(_cosines(own_ND), _cosines(other_ND), reduction="none").mean((1, 2))


def _pair(value_ND: Tensor, target_ND: Tensor, detach_target: bool, what: str) -> tuple[Tensor, Tensor]:
    if value_ND.ndim != 2 or target_ND.ndim != 2 or len(value_ND) != len(target_ND):
        shapes = f"shape {tuple(value_ND.shape)}, the target {tuple(target_ND.shape)}"
        raise ValueError(f"{what}: the student has {shapes}; one vector per item is needed of both")
    target_ND = target_ND.detach() if detach_target else target_ND
    # Both terms forget each side's scale, so it may as well be one at which nothing overflows.
    return value_ND / power(value_ND), target_ND / power(target_ND)


def _apart(values_ND: Tensor) -> Tensor:
    """At [i, j]: what leads from item i to item j, (N, N, D)."""
    return values_ND[None] - values_ND[:, None]


def _distances(values_ND: Tensor) -> Tensor:
    """At [i, j]: the distance of i and j, divided by the mean of those that are not 0; (N, N)."""
    distance_NN = torch.linalg.vector_norm(_apart(values_ND), dim=-1)
    mean = distance_NN.sum() / (distance_NN > 0).sum().clamp(min=1)
    return distance_NN / torch.where(mean > 0, mean, 1.0)


def _cosines(values_ND: Tensor) -> Tensor:
    """At [i, j, k]: the cosine of the angle at i between j and k, 0 where one of them is i; (N, N, N)."""
    direction_NND = unit(_apart(values_ND))
    return direction_NND @ direction_NND.transpose(1, 2)

"""Class distributions compared by correlation: what counts is which entries are large, not how large."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.batch.whole import over_the_batch
from embodkd.core.terms.base import TERMS, bounded, same_shape


@TERMS.register("correlation", inputs="logits, logits", minimum="zero", relational=True)
@over_the_batch
def correlation(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    *,
    inter: float = 1.0,
    intra: float = 1.0,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    detach_target: bool = True,
) -> Tensor:
    """inter * (1 - Pearson r of an item's class probabilities) + intra * (1 - r of a class's over the batch).

    Shapes: (N, C), (N, C) -> (N,). The second part, the mean over classes, is one number of the batch that every item
    gets. In [0, 2 (inter + intra)], times temperature^2 with `scale_by_t2`; 0 at equality. A row or column without any
    variance correlates with nothing (r = 0). Source: Huang et al. 2022 (DIST, arXiv:2205.10536), eq. 8-10.
    """
    same_shape(logits_NC, target_logits_NC, "correlation")
    if temperature <= 0:
        raise ValueError(f"correlation: temperature must be positive, got {temperature}")
    target_logits_NC = target_logits_NC.detach() if detach_target else target_logits_NC
    s_NC, t_NC = (bounded(z / temperature).softmax(-1) for z in (logits_NC, target_logits_NC))
    values_N = inter * (1.0 - _pearson(s_NC, t_NC)) + intra * (1.0 - _pearson(s_NC.T, t_NC.T)).mean()
    return values_N * temperature**2 if scale_by_t2 else values_N


def _pearson(a_NC: Tensor, b_NC: Tensor) -> Tensor:
    """Correlation of each row with its partner, (N,)."""
    a_NC, b_NC = (v - v.mean(-1, keepdim=True) for v in (a_NC, b_NC))
    size_N = torch.linalg.vector_norm(a_NC, dim=-1) * torch.linalg.vector_norm(b_NC, dim=-1)
    # Below the floor lies the rounding error of a constant row.
    return (a_NC * b_NC).sum(-1) / size_N.clamp(min=1e-8)

"""Which of two things belong together, told by how near each is to all others of the batch: an image and its text."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.batch.whole import over_the_batch
from embodkd.core.terms.base import TERMS, log_softmax, unit


@TERMS.register("affinity", inputs="pairs", minimum="none", relational=True)
@over_the_batch
def affinity(
    value_N2D: Tensor,
    target_N2E: Tensor,
    *,
    scale: float | Tensor = 50.0,
    target_scale: float | Tensor | None = None,
    detach_target: bool = True,
) -> Tensor:
    """Cross-entropy of the target's distribution over partners and the value's, mean over both directions.

    Shapes: (N, 2, D), (N, 2, E) -> (N,), an item's two things side by side; both spaces may have widths of their own.
    The first thing of an item has all second ones as partners, softmax(scale * cosine), its own among them; and the
    other way round. scale: a number, or one for each item (N,); target_scale: the target's, by default the same.
    Where both sides are alike it is the target's entropy, with gradient zero. Source: Wu et al., ICCV 2023 (TinyCLIP,
    arXiv:2309.12314), eq. 3.
    """
    _check(value_N2D, "affinity", target_N2E)
    target_N2E = target_N2E.detach() if detach_target else target_N2E
    target_scale = scale if target_scale is None else target_scale
    if isinstance(target_scale, Tensor) and detach_target:
        target_scale = target_scale.detach()
    log_q_2NN, log_p_2NN = _log_rows(value_N2D, scale), _log_rows(target_N2E, target_scale)
    return -(log_p_2NN.exp() * log_q_2NN).sum(-1).mean(0)


@over_the_batch
def pair_contrast(value_N2D: Tensor, *, scale: float | Tensor = 50.0) -> Tensor:
    """-log of the probability that an item's own partner has among all, mean over both directions: (N, 2, D) -> (N,).

    `affinity` to a target that is sure of the own partners. Source: Radford et al., ICML 2021 (CLIP, arXiv:2103.00020).
    """
    _check(value_N2D, "pair_contrast")
    return -_log_rows(value_N2D, scale).diagonal(dim1=1, dim2=2).mean(0)


def _log_rows(pair_N2D: Tensor, scale: float | Tensor) -> Tensor:
    """Log-probabilities of the partners, (2, N, N): of the first thing of each item, then of the second one."""
    first_ND, second_ND = unit(pair_N2D).unbind(1)
    cosine_NN = first_ND @ second_ND.T
    scale_N1 = scale.to(cosine_NN).reshape(-1, 1) if isinstance(scale, Tensor) else cosine_NN.new_full((1, 1), scale)
    return log_softmax(torch.stack([cosine_NN, cosine_NN.T]) * scale_N1)


def _check(value_N2D: Tensor, term: str, target_N2E: Tensor | None = None) -> None:
    for what, pair in {"student": value_N2D, "target": value_N2D if target_N2E is None else target_N2E}.items():
        if pair.ndim != 3 or pair.shape[:2] != (len(value_N2D), 2):
            raise ValueError(f"{term}: the {what} has shape {tuple(pair.shape)}; two things of each item, (N, 2, D)")

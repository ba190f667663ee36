"""Cross-entropy against targets of which only the K largest probabilities are known."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from embodkd.core.terms.base import BOUND, TERMS, blank, item_mean, log_softmax, widen


@TERMS.register("sparse_cross_entropy", inputs="logits, top probabilities, top indices", minimum="entropy")
def sparse_cross_entropy(
    logits_NC: Tensor,
    probs_NK: Tensor,
    index_NK: Tensor,
    *,
    rest: Literal["spread", "bin"] = "spread",
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """-sum_c t_c log softmax(logits)_c, where t has the probabilities `probs` at the K different classes `index`.

    Shapes: (N, ..., C), (N, ..., K), (N, ..., K) int64 -> (N,), averaged over an item's valid positions. What lacks to
    a sum of 1 is the rest. "spread": each of the C - K other classes has an equal share of it. "bin": these are one
    outcome, which the student gives the sum of their probabilities, so that how it divides them is free. Without a
    rest (K = C, or a sum above 1, as rounding may leave it) the probabilities are divided by their sum. The (N, ..., C)
    targets are never made. The minimum is the entropy of t, of K + 1 outcomes with "bin". Source of "spread": Wu et al.
    2022 (TinyViT, arXiv:2207.10666), whose code does not renormalise.
    """
    if rest not in ("spread", "bin"):
        raise ValueError(f"sparse_cross_entropy: rest must be spread or bin, got {rest!r}")
    classes, kept = logits_NC.shape[-1], probs_NK.shape[-1]
    if not logits_NC.shape[:-1] == probs_NK.shape[:-1] == index_NK.shape[:-1] or kept != index_NK.shape[-1]:
        shapes = " and ".join(str(tuple(value.shape)) for value in (probs_NK, index_NK))
        raise ValueError(
            f"sparse_cross_entropy: probabilities and indices of shape {shapes} do not fit logits of shape "
            f"{tuple(logits_NC.shape)}"
        )
    if kept > classes:
        raise ValueError(f"sparse_cross_entropy: {kept} probabilities for {classes} classes")
    probs_NK = blank(probs_NK.detach() if detach_target else probs_NK, mask)
    index_NK = index_NK if mask is None else torch.where(widen(mask, index_NK), index_NK, 0)
    log_NC = log_softmax(blank(logits_NC, mask))
    log_NK = log_NC.gather(-1, index_NK)
    sum_N = probs_NK.sum(-1)
    if kept == classes:
        whole_N = torch.where(sum_N > 0, sum_N, 1.0)
        return item_mean(-(probs_NK * log_NK).sum(-1) / whole_N, mask)
    rest_N = (1.0 - sum_N).clamp(min=0.0)
    if rest == "bin":
        log_rest_N = log_NC.scatter(-1, index_NK, -BOUND).logsumexp(-1)
    else:
        log_rest_N = (log_NC.sum(-1) - log_NK.sum(-1)) / (classes - kept)
    values_N = -((probs_NK * log_NK).sum(-1) + rest_N * log_rest_N) / sum_N.clamp(min=1.0)
    return item_mean(values_N, mask)

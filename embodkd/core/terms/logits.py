"""Comparisons of class distributions: everything is computed from logits, in float32 at least."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from embodkd.core.terms.base import TERMS, blank, item_mean, log_softmax, same_shape


@TERMS.register("cross_entropy", inputs="logits, labels", minimum="none")
def cross_entropy(logits_NC: Tensor, label_N: Tensor, *, smoothing: float = 0.0, mask: Tensor | None = None) -> Tensor:
    """-log softmax(logits) at the label; with smoothing e the target is (1 - e) one-hot + e / C.

    Shapes: (N, ..., C), (N, ...) -> (N,), averaged over an item's valid positions (`mask` (N, ...)). Labels are int64.
    """
    if logits_NC.shape[:-1] != label_N.shape:
        raise ValueError(
            f"cross_entropy: labels of shape {tuple(label_N.shape)} do not fit logits of shape {tuple(logits_NC.shape)}"
        )
    label_N = label_N if mask is None else torch.where(mask.bool(), label_N, 0)
    log_NC = log_softmax(blank(logits_NC, mask))
    values = -log_NC.gather(-1, label_N.unsqueeze(-1)).squeeze(-1)
    if smoothing:
        values = (1.0 - smoothing) * values - smoothing * log_NC.mean(-1)
    return item_mean(values, mask)


@TERMS.register("soft_cross_entropy", inputs="logits, probabilities", minimum="entropy")
def soft_cross_entropy(
    logits_NC: Tensor, target_NC: Tensor, *, detach_target: bool = True, mask: Tensor | None = None
) -> Tensor:
    """-sum_c target_c log softmax(logits)_c for a target distribution (not logits), at temperature 1.

    Shapes: (N, ..., C), (N, ..., C) -> (N,). Its minimum, at softmax(logits) == target, is the target's entropy.
    """
    same_shape(logits_NC, target_NC, "soft_cross_entropy")
    target_NC = target_NC.detach() if detach_target else target_NC
    log_NC = log_softmax(blank(logits_NC, mask))
    return item_mean(-(blank(target_NC, mask) * log_NC).sum(-1), mask)


@TERMS.register("kl", inputs="logits, logits", minimum="zero")
def kl(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reverse: bool = False,
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """KL(target || student) of distributions softened by `temperature`; KL(student || target) with `reverse`.

    Shapes: (N, ..., C), (N, ..., C) -> (N,), averaged over an item's valid positions. Minimum 0 at equality.
    `scale_by_t2` multiplies by temperature^2, which keeps the gradient's size. Logits of -inf are classes that are
    switched off. Source: Hinton et al. 2015, section 2.
    """
    same_shape(logits_NC, target_logits_NC, "kl")
    if temperature <= 0:
        raise ValueError(f"kl: temperature must be positive, got {temperature}")
    target_logits_NC = target_logits_NC.detach() if detach_target else target_logits_NC
    log_s_NC = log_softmax(blank(logits_NC, mask) / temperature)
    log_t_NC = log_softmax(blank(target_logits_NC, mask) / temperature)
    if reverse:
        log_s_NC, log_t_NC = log_t_NC, log_s_NC
    values = (log_t_NC.exp() * (log_t_NC - log_s_NC)).sum(-1)
    return item_mean(values * temperature**2 if scale_by_t2 else values, mask)


@TERMS.register("jensen_shannon", inputs="logits, logits", minimum="zero")
def jensen_shannon(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    *,
    beta: float = 0.5,
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """beta KL(target || m) + (1 - beta) KL(student || m) with m = beta target + (1 - beta) student, as probabilities.

    Shapes: (N, ..., C), (N, ..., C) -> (N,), averaged over an item's valid positions. Minimum 0 at equality, at most
    log 2 for beta = 0.5; divided by beta it comes to KL(target || student) for beta -> 0, divided by 1 - beta to the
    other one for beta -> 1. Source: Agarwal et al. 2024 (arXiv:2306.13649), eq. 1.
    """
    same_shape(logits_NC, target_logits_NC, "jensen_shannon")
    if not 0.0 < beta < 1.0:
        raise ValueError(f"jensen_shannon: beta must lie between 0 and 1, both excluded, got {beta}")
    target_logits_NC = target_logits_NC.detach() if detach_target else target_logits_NC
    log_s_NC = log_softmax(blank(logits_NC, mask))
    log_t_NC = log_softmax(blank(target_logits_NC, mask))
    log_m_NC = torch.logaddexp(log_t_NC + math.log(beta), log_s_NC + math.log1p(-beta))
    from_target_N = (log_t_NC.exp() * (log_t_NC - log_m_NC)).sum(-1)
    from_student_N = (log_s_NC.exp() * (log_s_NC - log_m_NC)).sum(-1)
    return item_mean(beta * from_target_N + (1.0 - beta) * from_student_N, mask)


@TERMS.register("entropy", inputs="logits", minimum="none")
def entropy(logits_NC: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """-sum_c p_c log p_c of softmax(logits / temperature), in nats: (N, ..., C) -> (N,)."""
    log_NC = log_softmax(blank(logits_NC, mask) / temperature)
    return item_mean(-(log_NC.exp() * log_NC).sum(-1), mask)

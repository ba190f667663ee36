"""Divergences averaged over classes instead of summed: 1/C of the usual ones, as some adversarial methods use them."""

from __future__ import annotations

from torch import Tensor

from embodkd.core.terms.base import TERMS, blank, bounded, item_mean, log_softmax, same_shape


@TERMS.register("class_mean_kl", inputs="logits, logits", minimum="zero")
def class_mean_kl(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    *,
    offset: float = 0.0,
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean over classes of q [log(q + offset) - log p], q and p the softmax of target and student: KL / C.

    Shapes: (N, ..., C), (N, ..., C) -> (N,), averaged over an item's valid positions. Minimum 0 at equality; an offset
    adds a little that the student cannot change. Source: Zhao et al. 2023 (B-MTARD, arXiv:2306.16170), as released.
    """
    same_shape(logits_NC, target_logits_NC, "class_mean_kl")
    target_logits_NC = target_logits_NC.detach() if detach_target else target_logits_NC
    log_p_NC = log_softmax(blank(logits_NC, mask))
    log_q_NC = log_softmax(blank(target_logits_NC, mask))
    q_NC = log_q_NC.exp()
    raised_NC = (q_NC + offset).log() if offset else log_q_NC
    return item_mean((q_NC * (raised_NC - log_p_NC)).mean(-1), mask)


@TERMS.register("offset_entropy", inputs="logits", minimum="none")
def offset_entropy(logits_NC: Tensor, *, offset: float = 1e-5, mask: Tensor | None = None) -> Tensor:
    """-mean over classes of p log(p + offset), p = softmax(logits): (N, ..., C) -> (N,).

    Below 0 where p is one-hot to within `offset`. Source: Zhao et al. 2023 (B-MTARD, arXiv:2306.16170), as released.
    """
    p_NC = bounded(blank(logits_NC, mask)).softmax(-1)
    return item_mean(-(p_NC * (p_NC + offset).log()).mean(-1), mask)

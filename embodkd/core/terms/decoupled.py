"""The distillation loss taken apart: how sure the target is of the label, and how it ranks the other classes."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.terms.base import BOUND, TERMS, blank, bounded, same_shape
from embodkd.core.terms.logits import kl


@TERMS.register("decoupled_kl", inputs="logits, logits, labels", minimum="zero")
def decoupled_kl(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    label_N: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """temperature^2 * (alpha * KL over {label, not label} + beta * KL over the other classes, renormalised).

    Shapes: (N, ..., C), (N, ..., C), (N, ...) -> (N,), averaged over an item's valid positions. Minimum 0 at equality.
    Full KL is alpha = 1 with beta replaced, item by item, by the target's probability of the other classes. Where the
    target has no other class, or none that is switched on, there is nothing to rank and the second part is 0.
    Source: Zhao et al. 2022 (DKD, arXiv:2203.08679), eq. 7.
    """
    same_shape(logits_NC, target_logits_NC, "decoupled_kl")
    if logits_NC.shape[:-1] != label_N.shape:
        found = f"labels of shape {tuple(label_N.shape)} do not fit logits of shape {tuple(logits_NC.shape)}"
        raise ValueError(f"decoupled_kl: {found}")
    if temperature <= 0:
        raise ValueError(f"decoupled_kl: temperature must be positive, got {temperature}")
    label_N = label_N if mask is None else torch.where(mask.bool(), label_N, 0)
    parts = [_parts(blank(z, mask) / temperature, label_N) for z in (logits_NC, target_logits_NC)]
    (is_s_N2, others_s_NC), (is_t_N2, others_t_NC) = parts
    left_N1 = (others_t_NC > -BOUND).any(-1, keepdim=True)
    others_s_NC = torch.where(left_N1, others_s_NC, others_t_NC.detach())
    target_N = kl(is_s_N2, is_t_N2, detach_target=detach_target, mask=mask)
    others_N = kl(others_s_NC, others_t_NC, detach_target=detach_target, mask=mask)
    return temperature**2 * (alpha * target_N + beta * others_N)


def _parts(logits_NC: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of {label, not label}, (N, ..., 2), and the logits with the label switched off."""
    others_NC = bounded(logits_NC).scatter(-1, label_N.unsqueeze(-1), -BOUND)
    label_logit_N = logits_NC.gather(-1, label_N.unsqueeze(-1)).squeeze(-1)
    return torch.stack([label_logit_N, others_NC.logsumexp(-1)], -1), others_NC

"""Both directions of KL at once, each item leaning to the one that its student needs."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from embodkd.core.terms.base import TERMS, blank, item_mean, same_shape
from embodkd.core.terms.logits import entropy, kl


@TERMS.register("balanced_kl", inputs="logits, logits", minimum="zero")
def balanced_kl(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    *,
    temperature: float = 3.0,
    delta: float = 2.0,
    forward: float = 1.0,
    reverse: float = 1.0,
    rule: Literal["spread", "flipped"] = "spread",
    sharpness: float | None = None,
    scale_by_t2: bool = True,
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """forward * v * KL(target || student) + reverse * u * KL(student || target) of softened distributions.

    Shapes: (N, ..., C), (N, ..., C) -> (N,), averaged over an item's valid positions. Minimum 0 at equality.
    The weights are those of `leaning`, one pair per position, without gradient. delta = 1 is the symmetric sum.
    Source: Amara et al. 2022 (BD-KD, arXiv:2212.12965); the exact weights are a reconstruction.
    """
    same_shape(logits_NC, target_logits_NC, "balanced_kl")
    classes = logits_NC.shape[-1]
    s_MC, t_MC = (blank(z, mask).reshape(-1, classes) for z in (logits_NC, target_logits_NC))
    v_M, u_M = leaning(s_MC, t_MC, temperature=temperature, delta=delta, rule=rule, sharpness=sharpness)
    divergence = partial(kl, temperature=temperature, scale_by_t2=scale_by_t2, detach_target=detach_target)
    values_M = forward * v_M * divergence(s_MC, t_MC) + reverse * u_M * divergence(s_MC, t_MC, reverse=True)
    return item_mean(values_M.reshape(logits_NC.shape[:-1]), mask)


@torch.no_grad()
def leaning(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    *,
    temperature: float = 3.0,
    delta: float = 2.0,
    rule: Literal["spread", "flipped"] = "spread",
    sharpness: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(weights of forward KL, weights of reverse KL), each (N,), from who is more certain: (N, C), (N, C) logits.

    Where the target's entropy exceeds the student's (the student is over-confident) they are (delta, 1), so that
    forward KL spreads it; elsewhere, equality included, (1, delta). rule: "flipped" swaps the two. sharpness: None
    switches; a number goes over smoothly, by sigmoid(sharpness * difference of the entropies in nats).
    """
    if delta < 1 or rule not in ("spread", "flipped"):
        raise ValueError(f"delta must be at least 1 and rule spread or flipped, got {delta} and {rule!r}")
    excess_N = entropy(target_logits_NC, temperature=temperature) - entropy(logits_NC, temperature=temperature)
    share_N = (excess_N > 0).to(excess_N) if sharpness is None else torch.sigmoid(sharpness * excess_N)
    v_N, u_N = 1.0 + (delta - 1.0) * share_N, 1.0 + (delta - 1.0) * (1.0 - share_N)
    return (v_N, u_N) if rule == "spread" else (u_N, v_N)

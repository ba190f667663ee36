"""The classes that are not the label, by themselves: both sides are normalised anew without it (NKD)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.terms.base import TERMS, blank, bounded, item_mean, precise, same_shape
from embodkd.core.terms.logits import soft_cross_entropy


def label_mask(label_N: Tensor, classes: int) -> Tensor:
    """True at each item's label: (N, ...) int64 -> (N, ..., C) bool."""
    return F.one_hot(label_N, classes).bool()


def others(logits_NC: Tensor, label_NC: Tensor) -> Tensor:
    """The logits with the label classes (True in `label_NC`) switched off by -inf: their softmax is that of the rest.

    It sums to 1 over the other classes and does not change when a label's logit does. (N, ..., C) -> (N, ..., C).
    """
    return precise(logits_NC).masked_fill(label_NC, -torch.inf)


@TERMS.register("nontarget_cross_entropy", inputs="logits, logits, labels", minimum="none")
def nontarget_cross_entropy(
    logits_NC: Tensor,
    target_logits_NC: Tensor,
    label_N: Tensor,
    *,
    temperature: float = 1.0,
    detach_target: bool = True,
    mask: Tensor | None = None,
) -> Tensor:
    """-temperature^2 * sum over i != label of T_i log S_i, the softened distributions of the other classes.

    Shapes: (N, ..., C), (N, ..., C), (N, ...) -> (N,), averaged over an item's valid positions. At its minimum, where
    the logits of the other classes agree up to a constant, it is temperature^2 times the entropy of T. It is 0 where
    the target has no other class, or none that is switched on.
    Source: Yang et al. 2023 (arXiv:2303.13005), eq. 7.
    """
    same_shape(logits_NC, target_logits_NC, "nontarget_cross_entropy")
    if temperature <= 0:
        raise ValueError(f"nontarget_cross_entropy: temperature must be positive, got {temperature}")
    mine_NC = label_mask(_valid(label_N, logits_NC, mask, "nontarget_cross_entropy"), logits_NC.shape[-1])
    own_NC, other_NC = (others(blank(z, mask), mine_NC) / temperature for z in (logits_NC, target_logits_NC))
    target_NC = bounded(other_NC).softmax(-1) * (other_NC > -torch.inf)
    values_N = soft_cross_entropy(own_NC, target_NC, detach_target=detach_target, mask=mask)
    return temperature**2 * values_N


@TERMS.register("label_probability", inputs="logits, labels", minimum="none")
def label_probability(logits_NC: Tensor, label_N: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """softmax(logits) at the label: (N, ..., C), (N, ...) -> (N,), averaged over an item's valid positions."""
    label_N = _valid(label_N, logits_NC, mask, "label_probability")
    probs_NC = bounded(blank(logits_NC, mask)).softmax(-1)
    return item_mean(probs_NC.gather(-1, label_N.unsqueeze(-1)).squeeze(-1), mask)


def _valid(label_N: Tensor, logits_NC: Tensor, mask: Tensor | None, what: str) -> Tensor:
    """The labels with padding set to class 0; ValueError if they do not fit the logits."""
    if logits_NC.shape[:-1] != label_N.shape:
        raise ValueError(
            f"{what}: labels of shape {tuple(label_N.shape)} do not fit logits of shape {tuple(logits_NC.shape)}"
        )
    return label_N if mask is None else torch.where(mask.bool(), label_N, 0)

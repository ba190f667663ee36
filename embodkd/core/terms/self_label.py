"""Soft labels that a network makes for itself (Yang et al. 2023, arXiv:2303.13005, section 3.3)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from embodkd.core.batch.whole import batch_mean
from embodkd.core.terms.base import wide

RankOn = Literal["prob", "log_prob"]


def label_classes(score_NC: Tensor) -> tuple[Tensor, Tensor]:
    """The one or two label classes of each item: scores (N, 2) and classes (N, 2), largest first.

    An item with one positive score has one label: its second score is 0.
    """
    if score_NC.shape[-1] < 2:
        raise ValueError(f"self_label: one or two of at least 2 classes are labels, got scores of {score_NC.shape[-1]}")
    value_N2, class_N2 = score_NC.topk(2, dim=-1)
    return value_N2.clamp(min=0.0), class_N2


@wide
def target_label(probs_NC: Tensor, score_NC: Tensor) -> Tensor:
    """P_k = S_k^2 + V_k - batch mean of S_k^2 at the label classes, 0 elsewhere, detached: (N, C), (N, C) -> (N, C).

    V are the label scores (one-hot without mixing). First and second labels have a batch mean each, over all N items.
    The batch mean of P over hard labels is 1; a batch of one item gives exactly its scores. P may be slightly negative.
    """
    value_N2, class_N2 = label_classes(score_NC)
    squared_N2 = torch.where(value_N2 > 0, probs_NC.detach().gather(-1, class_N2).square(), 0.0)
    target_N2 = torch.where(value_N2 > 0, squared_N2 + value_N2 - batch_mean(squared_N2, "target_label"), 0.0)
    return torch.zeros_like(probs_NC).scatter(-1, class_N2, target_N2)


def own_classes(score_NC: Tensor) -> Tensor:
    """True at the one or two label classes of each item: (N, C) -> (N, C) bool."""
    value_N2, class_N2 = label_classes(score_NC)
    return torch.zeros_like(score_NC, dtype=torch.bool).scatter(-1, class_N2, value_N2 > 0)


@wide
def rank_scores(weak_logits_NC: Tensor, logits_NC: Tensor, label_NC: Tensor, rank_on: RankOn = "prob") -> Tensor:
    """R_i = w_i / (1 - w_t + 1e-6) + S_i / (1 - S_t + 1e-6), detached: how much two heads believe in each class.

    w and S are the softmaxes of the weak head and of the network, t the label (the sum over both labels of a mixed
    item). "log_prob": the second summand is made of log S, as in the released code.
    """
    weak_NC, own_NC = weak_logits_NC.detach().softmax(-1), logits_NC.detach().log_softmax(-1)
    if rank_on == "prob":
        own_NC = own_NC.exp()
    elif rank_on != "log_prob":
        raise ValueError(f"rank_on: {rank_on!r} is not one of prob, log_prob")
    parts = [values / (1.0 - (values * label_NC).sum(-1, keepdim=True) + 1e-6) for values in (weak_NC, own_NC)]
    return parts[0] + parts[1]


def zipf_label(rank_NC: Tensor, label_NC: Tensor) -> Tensor:
    """1/k for the class at place k of the descending order of `rank_NC`; labels dropped, the rest renormalised.

    The labels take part in the order and leave gaps in it. Ties go to the lower class. (N, C), (N, C) bool -> (N, C).
    All 0 where every class is a label.
    """
    place_NC = rank_NC.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    zipf_NC = (1.0 / (place_NC + 1).to(rank_NC.dtype)).masked_fill(label_NC, 0.0)
    sum_N1 = zipf_NC.sum(-1, keepdim=True)
    return zipf_NC / torch.where(sum_N1 > 0, sum_N1, 1.0)

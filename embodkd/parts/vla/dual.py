"""Two teachers, each for its own domain (DualVLA, section 3.3): who acts teaches acting, who reasons answering.

    L = L_VLA + lambda L_KD
    L_KD(robot)      = T^2 mean over action positions of KL(action teacher || student)
    L_KD(multimodal) = T^2 mean over answer positions of KL(reasoning teacher || student)

A hard switch by the sample's domain, not a weight that is learned. The teachers see no reasoning text before the
action, the student does: positions are matched by their index among the actions, not by their place in the sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

LAMBDA = 0.15


def token_means(loss_NT: Tensor, valid_NT: Tensor, domain_N: Tensor | None = None) -> Tensor:
    """The mean of hard cross-entropies over valid tokens, one number.

    Without domains as published: one mean over all tokens, text and action alike, so that seven actions weigh little
    beside twenty words. domain_N, int: a mean for each domain that is there, and the sum of these.
    """
    valid_NT = valid_NT.to(loss_NT.dtype)
    # a loss where nothing is valid may be anything, also no number
    loss_NT = torch.where(valid_NT > 0, loss_NT, 0.0)
    if domain_N is None:
        return loss_NT.sum() / valid_NT.sum().clamp(min=1.0)
    means = []
    for domain in domain_N.unique():
        rows = domain_N == domain
        means.append(loss_NT[rows].sum() / valid_NT[rows].sum().clamp(min=1.0))
    return torch.stack(means).sum()


def forward_kl(student_NPV: Tensor, teacher_NPV: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(teacher || student) of softened logits at each position (N, P); no gradient reaches the teacher."""
    teacher_NPV = (teacher_NPV.detach() / temperature).log_softmax(-1)
    student_NPV = (student_NPV / temperature).log_softmax(-1)
    return temperature**2 * (teacher_NPV.exp() * (teacher_NPV - student_NPV)).sum(-1)


def domain_kl(
    student_NPV: Tensor, teacher_NPV: Tensor, valid_NP: Tensor, rows_N: Tensor, temperature: float = 1.0
) -> Tensor:
    """The mean over valid positions of the rows of one domain, one number; 0, without a gradient, where there are none.

    Other rows are not looked at: their logits may be anything.
    """
    chosen_NP = valid_NP & rows_N[:, None]
    if not chosen_NP.any():
        return student_NPV.new_zeros(())
    return forward_kl(student_NPV[chosen_NP], teacher_NPV[chosen_NP], temperature).mean()


def at_positions(logits_NTV: Tensor, place_NP: Tensor) -> Tensor:
    """The logits (N, P, V) at the places of the P actions of each row, wherever text has moved them to.

    place (N, P), int64: positions whose logits say that action.
    """
    return logits_NTV.take_along_dim(place_NP[..., None], 1)

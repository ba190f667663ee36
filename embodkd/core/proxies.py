"""Proxies: how well a student may learn from a teacher, told by both with random weights, without any training.

Source: Dong et al. 2023 (DisWOT, arXiv:2303.15678).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embodkd.core.rng import seeded
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.terms import similarity

FLOOR = 1e-12
"""Shorter rows are not scaled up to length 1: those of dead channels stay nearly zero."""


def gaussian_parameters(model: nn.Module, *key: int) -> dict[str, Tensor]:
    """Other parameters for `model`, a function of `key` alone: weights from N(0, 1), biases 0, scales of norms 1."""
    drawn: dict[str, Tensor] = {}
    with seeded(*key):
        for name, value in model.named_parameters():
            if value.ndim > 1:
                drawn[name] = torch.randn(value.shape).to(value)
            else:
                drawn[name] = torch.full_like(value, 0.0 if name.endswith("bias") else 1.0)
    return drawn


def diswot_score(
    signals: Signals, teacher: Signals, label_N: Tensor, *, relation: float = 1.0, semantic: float = 1.0
) -> tuple[float, float]:
    """(relation * its score + semantic * its score, the share of dead rows); a part that weighs 0 is left out."""
    score, dead = 0.0, 0.0
    if relation:
        score += relation * relation_score(signals, teacher)
    if semantic:
        own_CD, other_CD = (classifier_gradient(s, label_N) for s in (signals, teacher))
        score += semantic * semantic_score(own_CD, other_CD)
        dead = dead_share(own_CD)
    return score, dead


@torch.no_grad()
def random_signals(model: nn.Module, batch: Signals, *key: int) -> Signals:
    """What `model` would say with `gaussian_parameters`, in training mode; the model itself stays as it is."""
    seen = batch.to(next(model.parameters()).device)
    return Role(model).signals(seen, parameters=gaussian_parameters(model, *key)).to("cpu")


def relation_score(signals: Signals, teacher: Signals) -> float:
    """-|G_T - G_S|_F^2 / B^2, in [-4 / B, 0], of the Gram matrices over the batch with rows of length 1."""
    maps = (s["map"] if "map" in s else s["embedding"] for s in (signals, teacher))
    return -float(similarity(*(m.double() for m in maps)).mean())


def classifier_gradient(signals: Signals, label_N: Tensor) -> Tensor:
    """The gradient (C, D) of the mean cross-entropy with respect to the weight of the last linear layer."""
    logits_NC = signals.logits_NC.double()
    error_NC = logits_NC.softmax(1) - nn.functional.one_hot(label_N, logits_NC.shape[1])
    return error_NC.T @ signals.embedding_ND.double() / len(error_NC)


def semantic_score(gradient_CD: Tensor, teacher_CD: Tensor) -> float:
    """-sum over classes of |E_T - E_S|_F^2 / (C * D), in [-4, 0]: E is the outer product of a class's row with itself,
    its rows of length 1. ValueError if the shapes differ.
    """
    if gradient_CD.shape != teacher_CD.shape:
        shapes = f"{tuple(gradient_CD.shape)} and {tuple(teacher_CD.shape)}"
        raise ValueError(
            f"semantic score: the last layers' weights have shapes {shapes}; it needs teacher and student of one width "
            "and as many classes; leave this part out (semantic: 0)"
        )
    classes, width = gradient_CD.shape
    return -float((_outer(teacher_CD) - _outer(gradient_CD)).square().sum()) / (classes * width)


def dead_share(gradient_CD: Tensor) -> float:
    """The share of rows of those outer products that are shorter than FLOOR."""
    length_CD = gradient_CD.abs() * gradient_CD.norm(dim=1, keepdim=True)
    return float((length_CD < FLOOR).double().mean())


def _outer(rows_CD: Tensor) -> Tensor:
    outer_CDD = rows_CD[:, :, None] * rows_CD[:, None, :]
    return outer_CDD / outer_CDD.norm(dim=-1, keepdim=True).clamp(min=FLOOR)

"""Proxies: how well a student may learn, told by networks with random weights, without any training.

DisWOT's score (Dong et al. 2023, arXiv:2303.15678) and losses of distillation compare it with its teacher; NWOT, SNIP
and SynFlow look at the student alone. All say: higher is better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from embodkd.core.rng import seeded
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.steps import fresh_copy
from embodkd.core.terms import angle_relation, channel_correlation, distance_relation, similarity

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


def ickd_score(signals: Signals, teacher: Signals) -> float:
    """-the distance of the channels' correlations in the last maps, in [-4, 0]; both need as many channels."""
    return -float(channel_correlation(signals.map_NDHW.double(), teacher.map_NDHW.double()).mean())


def rkd_score(signals: Signals, teacher: Signals) -> float:
    """-(distance + angle) of RKD between the embeddings of the batch, at most 0."""
    pair = (signals.embedding_ND.double(), teacher.embedding_ND.double())
    return -float((distance_relation(*pair) + angle_relation(*pair)).mean())


def nwot(model: nn.Module, batch: Signals, *key: int) -> float:
    """log |det K|, with K the number of ReLUs in the same state for all pairs of items (Mellor et al. 2021, eq. 2).

    -infinity where two items cannot be told apart so, as in networks of few units. ValueError for a network without
    ReLU modules. Source: NASWOT, arXiv:2006.04647.
    """
    model = fresh_copy(model, *key)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.ReLU)]
    if not names:
        raise ValueError(f"nwot: {type(model).__name__} has no ReLU to look at; choose another score")
    with torch.no_grad():
        signals = Role(model, taps={f"relu_{k}": name for k, name in enumerate(names)}).signals(batch)
    kernel_NN = torch.zeros(batch.items_count, batch.items_count, dtype=torch.float64)
    for k in range(len(names)):
        on_NU = (signals[f"relu_{k}"].flatten(1) > 0).double()
        kernel_NN += on_NU @ on_NU.T + (1.0 - on_NU) @ (1.0 - on_NU).T
    return float(torch.linalg.slogdet(kernel_NN).logabsdet)


def snip(model: nn.Module, batch: Signals, *key: int) -> float:
    """Sum over weights of |weight * gradient of the mean cross-entropy| (Lee et al. 2019, arXiv:1810.02340)."""
    model = fresh_copy(model, *key)
    loss = nn.functional.cross_entropy(Role(model).signals(batch).logits_NC, batch.label_N)
    return float(torch.stack([(weight * slope).abs().sum() for weight, slope in _slopes(model, loss)]).sum())


def synflow(model: nn.Module, batch: Signals, *key: int) -> float:
    """Logarithm of the sum over weights of weight * gradient of the summed logits of an input of ones, all weights made
    positive, in evaluation mode (Tanaka et al. 2020, arXiv:2006.05467). No data are looked at."""
    model = fresh_copy(model, *key).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    ones = batch.merge(input=torch.ones_like(batch.input[:1], dtype=torch.float64))
    total = Role(model, mode="eval").signals(ones).logits_NC.sum()
    return float(torch.stack([(weight * slope).sum() for weight, slope in _slopes(model, total)]).sum().log())


def _slopes(model: nn.Module, value: Tensor) -> list[tuple[Tensor, Tensor]]:
    weights = [p for p in model.parameters() if p.ndim > 1]
    return [(p.detach(), slope) for p, slope in zip(weights, torch.autograd.grad(value, weights), strict=True)]


COMPARING: Mapping[str, Callable[[Signals, Signals], float]] = {"ickd": ickd_score, "rkd": rkd_score}
"""Losses of distillation as scores of (student's, teacher's) `random_signals`."""
ALONE: Mapping[str, Callable[..., float]] = {"nwot": nwot, "snip": snip, "synflow": synflow}
"""Scores of (student, batch, *key) that know no teacher; the weights are drawn as the network draws them."""

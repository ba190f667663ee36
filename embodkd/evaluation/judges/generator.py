"""What a generator is judged by: how far its samples are from the test in features, and which classes they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core import Splits, seeded
from embodkd.core.config.registry import Registry
from embodkd.core.modules.modes import evaluating
from embodkd.evaluation.judgement import Judgement
from embodkd.evaluation.result import Episode
from embodkd.parts.generators.frechet import embedded, embedding_of, frechet

MEASURES = Registry("measure of a generator")
"""Functions (made: Made) -> float, with `better=` and `unit=`."""

SAMPLES, NEIGHBOURS = 2000, 3


@dataclass(frozen=True)
class Made:
    """Features (N, D) and logits (N, C) of samples, and features (M, D) of real items."""

    sample_ND: Tensor
    logits_NC: Tensor
    real_MD: Tensor


@MEASURES.register("fd", better="lower", unit="")
def fd(made: Made) -> float:
    """The Fréchet distance between samples and test, in the features of `parts/generators/frechet.py`."""
    return frechet(made.sample_ND, made.real_MD)


@MEASURES.register("class_entropy", better="higher", unit="nats")
def class_entropy(made: Made) -> float:
    """The entropy of the histogram of the samples' classes; log C if all are equally frequent, 0 if there is one."""
    share_C = made.logits_NC.argmax(1).bincount(minlength=made.logits_NC.shape[1]).double() / len(made.logits_NC)
    return -torch.special.xlogy(share_C, share_C).sum().item()


@MEASURES.register("precision", better="higher", unit="%")
def precision(made: Made) -> float:
    """Percent of the samples that lie among the real items."""
    return 100.0 * within(made.sample_ND, made.real_MD).double().mean().item()


@MEASURES.register("recall", better="higher", unit="%")
def recall(made: Made) -> float:
    """Percent of the real items that lie among the samples."""
    return 100.0 * within(made.real_MD, made.sample_ND).double().mean().item()


def within(these_ND: Tensor, cloud_MD: Tensor, neighbours: int = NEIGHBOURS) -> Tensor:
    """Which of these are as near to some point of a cloud as that one's third neighbour within the cloud is, (N,).

    Source: Kynkaanniemi et al., NeurIPS 2019 (arXiv:1904.06991), eq. 1.
    """
    # the nearest neighbour of each is itself
    radius_M = torch.cdist(cloud_MD, cloud_MD).topk(min(neighbours + 1, len(cloud_MD)), 1, largest=False).values[:, -1]
    return (torch.cdist(these_ND, cloud_MD) <= radius_M).any(1)


def measured(
    product: nn.Module, data: Splits, classify: Any = None, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Every measure, against the test. The same noise for every product, and the classes in the test's proportions."""
    made = _made(product, data, "test", device)
    return {name: MEASURES.get(name)(made) for name in MEASURES}


def judgement(model: nn.Module, data: Splits, part: str, device: torch.device | str) -> Judgement:
    """Judge `model` sample by sample: one succeeds if it lies among the real items. All measures: in the manifest."""
    made = _made(model, data, part, device)
    rows = enumerate(zip(within(made.sample_ND, made.real_MD).tolist(), made.logits_NC.argmax(1).tolist(), strict=True))
    outcomes = tuple(
        Episode(k, good, None if good else f"unlike real items, taken for {answer}", 0.0, 1)
        for k, (good, answer) in rows
    )
    success = "the sample lies among the real items"
    return Judgement(outcomes, success, {name: MEASURES.get(name)(made) for name in MEASURES}, "samples")


@torch.no_grad()
def _made(product: Any, data: Splits, part: str, device: torch.device | str) -> Made:
    real = data.part(part).fields
    embedding, like = embedding_of(data), next(product.to(device).parameters())
    with seeded(0, 0x9E4E):
        noise = torch.randn(SAMPLES, *data.shape)
        label_N = real["label"][torch.randint(len(real["label"]), (SAMPLES,))]
    with evaluating(product):
        pairs = zip(noise.to(like).split(500), label_N.to(like.device).split(500), strict=True)
        samples = torch.cat([product.generate(*pair) for pair in pairs])
    found = embedded(embedding, samples)
    return Made(found["embedding"], found["logits"], embedded(embedding, real["input"])["embedding"])

"""What a classifier is judged by: pure functions of its logits on labelled items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import Role, Source, Splits
from embodkd.core.config.registry import Registry
from embodkd.core.modules.modes import evaluating
from embodkd.core.ranks import ranks

MEASURES = Registry("measure")
"""Functions (logits_NC float64, label_N) -> float, with `better=` ("higher" or "lower") and `unit=` beside each."""

Classify = Callable[[nn.Module, Tensor], Tensor]
CONFIDENT = 0.9


@MEASURES.register("accuracy", better="higher", unit="%")
def accuracy(logits_NC: Tensor, label_N: Tensor) -> float:
    """Percent of the items whose largest logit is at the label."""
    return 100.0 * (logits_NC.argmax(1) == label_N).double().mean().item()


@MEASURES.register("class_accuracy", better="higher", unit="%")
def class_accuracy(logits_NC: Tensor, label_N: Tensor) -> float:
    """The mean of the accuracies within each class that occurs: rare classes count as much as frequent ones."""
    right_N = (logits_NC.argmax(1) == label_N).double()
    return 100.0 * torch.stack([right_N[label_N == c].mean() for c in label_N.unique()]).mean().item()


@MEASURES.register("nll", better="lower", unit="nats")
def nll(logits_NC: Tensor, label_N: Tensor) -> float:
    """The mean of -log softmax(logits) at the label."""
    return nn.functional.cross_entropy(logits_NC, label_N).item()


@MEASURES.register("brier", better="lower", unit="")
def brier(logits_NC: Tensor, label_N: Tensor) -> float:
    """The mean over items of sum over classes of (probability - 1 at the label)^2, in [0, 2] (Brier 1950)."""
    target_NC = nn.functional.one_hot(label_N, logits_NC.shape[1])
    return (logits_NC.softmax(1) - target_NC).square().sum(1).mean().item()


@MEASURES.register("ece", better="lower", unit="%")
def ece(logits_NC: Tensor, label_N: Tensor, bins: int = 15) -> float:
    """Expected calibration error: |accuracy - confidence| within `bins` equal bins of confidence, weighted by count.

    Source: Guo et al., ICML 2017, eq. 3; bin b holds the confidences in ((b - 1) / bins, b / bins].
    """
    confidence_N, answer_N = logits_NC.softmax(1).max(1)
    bin_N = (confidence_N * bins).ceil().long().clamp(1, bins) - 1
    gap_N = (answer_N == label_N).double() - confidence_N
    gaps = torch.zeros(bins, dtype=gap_N.dtype).index_add_(0, bin_N, gap_N)
    return 100.0 * gaps.abs().sum().item() / len(label_N)


@MEASURES.register("confident_error", better="lower", unit="%")
def confident_error(logits_NC: Tensor, label_N: Tensor) -> float:
    """Percent of the items that are answered wrongly with a probability of at least 0.9."""
    confidence_N, answer_N = logits_NC.softmax(1).max(1)
    return 100.0 * ((answer_N != label_N) & (confidence_N >= CONFIDENT)).double().mean().item()


def measured(
    product: nn.Module, data: Splits, classify: Classify | None = None, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Every measure on the test split by its name, and as `name@part` on every other part that has labels."""
    found: dict[str, float] = {}
    for part, source in data.parts().items():
        if "label" in source.fields:
            logits_NC, label_N = answers(product, source, data.classes, classify, device)
            suffix = "" if part == "test" else f"@{part}"
            found |= {f"{name}{suffix}": MEASURES.get(name)(logits_NC, label_N) for name in MEASURES}
    return found


@torch.no_grad()
def answers(
    product: nn.Module,
    source: Source,
    classes: int,
    classify: Classify | None = None,
    device: torch.device | str = "cpu",
    batch_size: int = 512,
) -> tuple[Tensor, Tensor]:
    """(logits_NC float64, label_N) of all items in order, on the CPU, from `product` in evaluation mode.

    Of several ranks each must call this and asks for its share of the batches; all get the whole answer.
    classify: `classify(product, x) -> logits_NC` for a product whose own logits are not one column per class.
    ValueError if what comes out has another number of columns than `classes`.
    """
    role = Role(product.to(device), "frozen")
    pieces = []
    for start in ranks().share(range(0, source.size(), batch_size)):
        batch = source.gather(np.arange(start, min(start + batch_size, source.size())), 0).to(device)
        with evaluating(product):
            logits_NC = role.signals(batch)["logits"] if classify is None else classify(product, role.view(batch))
        if logits_NC.shape != (batch.items_count, classes):
            raise ValueError(
                f"{type(product).__name__} gives logits of shape {tuple(logits_NC.shape)} where "
                f"{(batch.items_count, classes)} is needed, one column per class; a method whose product answers "
                "otherwise needs a static method classify(product, x) that gives these"
            )
        pieces.append((logits_NC.double().cpu(), batch["label"].cpu()))
    logits, labels = zip(*ranks().merged(pieces), strict=True)
    return torch.cat(logits), torch.cat(labels)

"""What every model is: a class that says for which data it is built and by what it is judged."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core.config.registry import Registry
from embodkd.core.runs.artefact import golden_unit
from embodkd.core.sources.provenance import Provenance

MODELS = Registry("model")
"""Subclasses of `Model`, with `title=` beside each."""


class Model(nn.Module):
    """Base of all models here; gives named signals, among them `logits`.

    built_for: the facts of the data (`DataSet.facts`) that its constructor takes, each kept as an attribute. judged_as:
    its judge, a file of evaluation/judges/. golden_signal: what a folder keeps of its answer to a fixed input.
    arguments: its constructor's other keywords, from which a folder builds it again.
    """

    built_for: ClassVar[tuple[str, ...]]
    judged_as: str
    golden_signal: ClassVar[str] = "logits"
    reads: Any

    def __init__(self) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {}
        self.provenance: Provenance | None = None

    def facts(self) -> dict[str, Any]:
        """The facts that it was built for, by name."""
        return {fact: getattr(self, fact) for fact in self.built_for}

    def resolved(self) -> dict[str, Any]:
        """Arguments that take the place of those it was made with, so that a folder needs nothing from outside."""
        return {}

    def golden_input(self, rows: int) -> Any:
        """A fixed input of so many rows, which depends on the facts alone."""
        raise NotImplementedError

    def golden_answer(self, logits: Tensor) -> Tensor:
        """As much of the logits of a golden input as a folder keeps, (N, K)."""
        return logits


class Classifier(Model):
    """x (N, *shape) float32 -> {"logits": (N, classes), "embedding": (N, D), ...}.

    A subclass takes `(shape, classes, *, ...)`, sets `classifier` and gives the signals before it in `features`.
    """

    built_for: ClassVar[tuple[str, ...]] = ("shape", "classes")
    judged_as = "classifier"
    reads: Any = "input"
    classifier: nn.Linear

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {classes}")
        self.shape, self.classes = tuple(shape), int(classes)

    def features(self, x: Any) -> dict[str, Tensor]:
        """The signals before the last layer, among them `embedding` (N, D)."""
        raise NotImplementedError

    def forward(self, x: Any) -> dict[str, Tensor]:
        """All signals; logits are those of the last layer, without softmax."""
        signals = self.features(x)
        return {"logits": self.classifier(signals["embedding"]), **signals}

    def golden_input(self, rows: int) -> Any:
        """Numbers in [0, 1), (rows, *shape)."""
        return torch.from_numpy(golden_unit((rows, *self.shape)).astype(np.float32)).to(self.classifier.weight)


def image_shape(shape: Sequence[int], model: str) -> tuple[int, int, int]:
    """(channels, height, width); ValueError if `shape` is not that of an image."""
    if len(shape) != 3:
        raise ValueError(f"model {model}: reads images (channels, height, width), got inputs of shape {tuple(shape)}")
    channels, height, width = shape
    return channels, height, width


def library(module: str, model: str, extra: str = "vision") -> Any:
    """A module of an extra of the distribution, imported now; ValueError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ValueError(f"model {model}: needs {module}, which is missing: pip install 'embodkd[{extra}]'") from error

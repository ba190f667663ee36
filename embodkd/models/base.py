"""What every classifier is: features, then one linear layer."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from embodkd.core.config.registry import Registry
from embodkd.core.sources.provenance import Provenance

MODELS = Registry("model")
"""Subclasses of `Classifier`, with `title=` beside each."""


class Classifier(nn.Module):
    """Base of all models here: x (N, *shape) float32 -> {"logits": (N, classes), "embedding": (N, D), ...}.

    A subclass takes `(shape, classes, *, ...)`, sets `classifier` and gives the signals before it in `features`.
    """

    reads = "input"
    classifier: nn.Linear

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"a classifier needs at least 2 classes, got {classes}")
        self.shape, self.classes = tuple(shape), int(classes)
        self.arguments: dict[str, Any] = {}
        self.provenance: Provenance | None = None

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """The signals before the last layer, among them `embedding` (N, D)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """All signals; logits are those of the last layer, without softmax."""
        signals = self.features(x)
        return {"logits": self.classifier(signals["embedding"]), **signals}


def image_shape(shape: Sequence[int], model: str) -> tuple[int, int, int]:
    """(channels, height, width); ValueError if `shape` is not that of an image."""
    if len(shape) != 3:
        raise ValueError(f"model {model}: reads images (channels, height, width), got inputs of shape {tuple(shape)}")
    channels, height, width = shape
    return channels, height, width


def library(module: str, model: str) -> Any:
    """A module of the extra `vision`, imported now; ValueError that says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ValueError(f"model {model}: needs {module}, which is missing: pip install 'embodkd[vision]'") from error

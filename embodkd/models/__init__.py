"""Classifiers for vision methods: `make_model("cnn", shape, classes, widths=[16, 32])`.

Each gives named signals: `logits` (N, C), `embedding` (N, D) = the input of its last linear layer `classifier`, and
if convolutional `map` (N, D, H, W) before global pooling. Further layers are read by taps. Initial weights come from
torch's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embodkd.core.config.schema import build, parameters
from embodkd.models import cnn, efficientnet, mlp, resnet, vit  # noqa: F401 (each enters its class into MODELS)
from embodkd.models.artefact import check_storable, load_model, save_model
from embodkd.models.base import MODELS, Classifier

__all__ = ["MODELS", "Classifier", "check_storable", "load_model", "make_model", "model_names", "save_model"]


def make_model(name: str, shape: Sequence[int], classes: int, **options: Any) -> Classifier:
    """A new classifier of inputs (N, *shape); `options` are its constructor's keywords.

    ValueError for an unknown name or option, naming the nearest that exists.
    """
    kind = MODELS.get(name)
    model = build(kind, options, f"model {name}", shape=tuple(shape), classes=classes)
    defaults = {n: p.default for n, p in parameters(kind).items() if n not in ("shape", "classes")}
    model.arguments = {**defaults, **options}
    return model


def model_names() -> tuple[str, ...]:
    """The names that `make_model` knows."""
    return MODELS.names()

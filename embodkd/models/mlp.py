"""A multilayer perceptron on the flattened input."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from embodkd.core.config.ranges import Part, Width
from embodkd.models.base import MODELS, Classifier


@MODELS.register("mlp", title="multilayer perceptron on the flattened input")
class MLP(Classifier):
    """Linear layers with ReLU of the widths `hidden`, then the classifier; `embedding` is the last hidden layer.

    dropout follows each hidden layer. The i-th hidden layer's output is tapped as `layers.{i}`. With `hidden` empty
    it is a linear classifier.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, hidden: tuple[Width, ...] = (256, 256), dropout: Part = 0.0
    ) -> None:
        super().__init__(shape, classes)
        widths = (math.prod(shape), *hidden)
        pairs = zip(widths[:-1], hidden, strict=True)
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)) for a, b in pairs))
        self.classifier = nn.Linear(widths[-1], classes)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """{"embedding": (N, D)}."""
        return {"embedding": self.layers(x.flatten(1))}

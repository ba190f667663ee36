"""A small convolutional net for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from embodkd.core.config.ranges import Part, Width
from embodkd.models.base import MODELS, Classifier, image_shape


@MODELS.register("cnn", title="small convolutional net")
class CNN(Classifier):
    """One 3 x 3 convolution (batch norm, ReLU) per entry of `widths`, 2 x 2 max pooling between them.

    So `map` is (N, widths[-1], H / 2**(len(widths) - 1), ...) and `embedding` its global average or maximum; a
    maximum makes the net nearly blind to shifts. The i-th block's output is tapped as `layers.{i}`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        widths: tuple[Width, ...] = (16, 32),
        batch_norm: bool = True,
        pool: Literal["avg", "max"] = "avg",
        dropout: Part = 0.0,
    ) -> None:
        super().__init__(shape, classes)
        channels, *size = image_shape(shape, "cnn")
        if not widths or min(size) < 2 ** (len(widths) - 1):
            raise ValueError(f"model cnn: widths {list(widths)} halve images of {size} to nothing, or are empty")
        self.layers = nn.Sequential()
        for i, width in enumerate(widths):
            block: list[nn.Module] = [nn.MaxPool2d(2)] if i else []
            block.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
            block += [nn.BatchNorm2d(width)] if batch_norm else []
            self.layers.append(nn.Sequential(*block, nn.ReLU()))
            channels = width
        self.dropout = nn.Dropout(dropout)
        self.pool = pool
        self.classifier = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """{"embedding": (N, D), "map": (N, D, H, W)}."""
        map_NDHW = self.layers(x)
        pooled_ND = map_NDHW.mean((2, 3)) if self.pool == "avg" else map_NDHW.amax((2, 3))
        return {"embedding": self.dropout(pooled_ND), "map": map_NDHW}

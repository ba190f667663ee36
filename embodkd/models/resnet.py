"""Residual networks (He et al., CVPR 2016) from transformers, for small and large images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Depth, Positive, Real, Width
from embodkd.core.config.registry import near
from embodkd.models.base import MODELS, Classifier, image_shape, library


class Size(NamedTuple):
    """How large a net is: blocks per stage, their widths, the stem's width, and the kind of block."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    stem_width: int
    block: str = "basic"


SIZES = {
    "resnet8x4": Size((1, 1, 1), (64, 128, 256), 32),
    "resnet32x4": Size((5, 5, 5), (64, 128, 256), 32),
    "resnet20": Size((3, 3, 3), (16, 32, 64), 16),
    "resnet32": Size((5, 5, 5), (16, 32, 64), 16),
    "resnet56": Size((9, 9, 9), (16, 32, 64), 16),
    "resnet18": Size((2, 2, 2, 2), (64, 128, 256, 512), 64),
    "resnet34": Size((3, 4, 6, 3), (64, 128, 256, 512), 64),
    "resnet50": Size((3, 4, 6, 3), (256, 512, 1024, 2048), 64, "bottleneck"),
}
"""The usual names, each with either stem; shortcuts that change shape are 1 x 1 convolutions."""


@MODELS.register("resnet", title="residual network, CIFAR or ImageNet stem (extra: vision)")
class ResNet(Classifier):
    """One of `SIZES`, or own `depths`, `widths`, `stem_width` and `block`, which win over those of `size`.

    stem: "cifar" is a 3 x 3 convolution that keeps the resolution, "imagenet" 7 x 7 with stride 2 and max pooling.
    Every stage but the first halves the resolution. The i-th stage's output is tapped as `encoder.stages.{i}`.
    mean, std: of each channel of the data; inputs are normalised by them, so that what is outside of the model
    (attacks, corruptions) goes on in [0, 1].
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        size: str = "resnet20",
        depths: tuple[Depth, ...] | None = None,
        widths: tuple[Width, ...] | None = None,
        stem_width: Width | None = None,
        block: Literal["basic", "bottleneck"] | None = None,
        stem: Literal["cifar", "imagenet"] = "cifar",
        mean: tuple[Real, ...] | None = None,
        std: tuple[Positive, ...] | None = None,
    ) -> None:
        super().__init__(shape, classes)
        channels, _, _ = image_shape(shape, "resnet")
        if size not in SIZES:
            raise ValueError(f"model resnet: no size {size!r}: {near(size, SIZES)}")
        if any(given is not None and len(given) != channels for given in (mean, std)):
            raise ValueError(f"model resnet: mean and std are {channels} numbers; got {mean} and {std}")
        named = SIZES[size]
        depths, widths = depths or named.depths, widths or named.widths
        if len(depths) != len(widths):
            raise ValueError(f"model resnet: depths {list(depths)} and widths {list(widths)} differ in length")
        transformers = library("transformers", "resnet")
        config = transformers.ResNetConfig(
            num_channels=channels,
            embedding_size=stem_width or named.stem_width,
            hidden_sizes=list(widths),
            depths=list(depths),
            layer_type=block or named.block,
        )
        net = transformers.ResNetModel(config)
        self.stem = net.embedder if stem == "imagenet" else _small_stem(channels, config.embedding_size)
        self.encoder = net.encoder
        self.classifier = nn.Linear(widths[-1], classes)
        # Settings, not state: they stand in the config and not among the weights.
        self.mean: Tensor
        self.std: Tensor
        for name, value, neutral in (("mean", mean, 0.0), ("std", std, 1.0)):
            numbers_C11 = torch.tensor(value or [neutral] * channels, dtype=torch.float32)[:, None, None]
            self.register_buffer(name, numbers_C11, persistent=False)

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """{"embedding": (N, D), "map": (N, D, H, W)}."""
        map_NDHW = self.encoder(self.stem((x - self.mean) / self.std)).last_hidden_state
        return {"embedding": map_NDHW.mean((2, 3)), "map": map_NDHW}


def _small_stem(channels: int, width: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())

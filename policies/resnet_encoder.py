"""A small ResNet-18 for one camera: group normalisation, so that nothing depends on the batch, and no download."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodkd.core.batch.whole import drawn
from embodkd.core.transfer import sent

_CHANNELS = (16, 32, 64, 128)
_PER_GROUP = 16  # channels normalised together


class ResNetEncoder(nn.Module):
    """Bytes (N, C, H, W) -> features (N, F). A quarter of ResNet-18's channels, two blocks per stage.

    In training mode each image is moved by up to `shift` pixels in both directions, its border repeated.
    """

    def __init__(self, channels: int, features: int, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift
        first = _CHANNELS[0]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, first, 7, stride=2, padding=3, bias=False), _norm(first), nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )  # fmt: skip
        blocks: list[nn.Module] = []
        for before, after in zip((first, *_CHANNELS), _CHANNELS, strict=False):
            blocks += [BasicBlock(before, after, 1 if before == after else 2), BasicBlock(after, after, 1)]
        self.stages = nn.Sequential(*blocks)
        self.head = nn.Linear(_CHANNELS[-1], features)
        # Channels last is the layout of the CPU's fast convolutions.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub forgets this keyword

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Bytes become -1..1 here, so that data sets and artefacts never hold float images."""
        if self.training and self.shift:
            image_NCHW = shifted(image_NCHW, self.shift)
        weight = next(self.parameters())
        scaled = image_NCHW.to(weight.dtype, memory_format=torch.channels_last) * (2.0 / 255.0) - 1.0
        return self.head(self.stages(self.stem(scaled)).mean((2, 3)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with group normalisation and a skip around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False), _norm(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), _norm(after),
        )  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if before != after or stride != 1:
            self.skip = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), _norm(after))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        return torch.relu(self.inner(x_NCHW) + self.skip(x_NCHW))


def shifted(image_NCHW: Tensor, most: int) -> Tensor:
    """Each image moved by up to `most` pixels up or down and left or right, drawn from torch's CPU generator."""
    count, _, height, width = image_NCHW.shape
    padded = functional.pad(image_NCHW.to(torch.float32), (most,) * 4, mode="replicate").to(image_NCHW.dtype)
    device = image_NCHW.device
    offset_N2 = sent(drawn(count, lambda items: torch.randint(0, 2 * most + 1, (2, items)).T), device)
    row_NH = offset_N2[:, :1] + torch.arange(height, device=device)
    column_NW = offset_N2[:, 1:] + torch.arange(width, device=device)
    item_N = torch.arange(count, device=device)
    # Indices on both sides of a slice put the sliced axis last.
    return padded[item_N[:, None, None], :, row_NH[:, :, None], column_NW[:, None, :]].permute(0, 3, 1, 2)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // _PER_GROUP, channels)

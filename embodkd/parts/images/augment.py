"""Augmentations of images_NCHW: shifts drawn by hand, and networks that turn noise into a change of the image.

An augmentor is called with {"input": images_NCHW, "noise": (N, K)} and gives {"image": images_NCHW}. It is
differentiable in its parameters, so it can be a player, and starts near the identity.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodkd.core.batch.whole import drawn, own, whole
from embodkd.core.recipe import Prepare
from embodkd.core.signals import Signals
from embodkd.core.transfer import sent


class Augmentor(nn.Module):
    """Base of the learned ones; `noise_size` is the K of their noise."""

    reads = ("input", "noise")

    def __init__(self, noise_size: int) -> None:
        super().__init__()
        self.noise_size = noise_size


def small_network(inputs: int, hidden: int, outputs: int, spread: float) -> nn.Sequential:
    """Linear, tanh, linear; the last layer's weights are N(0, spread^2) without bias, so that it starts near zero."""
    last = nn.Linear(hidden, outputs)
    nn.init.normal_(last.weight, std=spread)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), last)


class Affine(Augmentor):
    """Spatial transformer (Jaderberg et al. 2015): noise -> 6 numbers added to the identity map -> bilinear sampling.

    Coordinates go from -1 to 1 across the image; what comes in from outside is 0.
    """

    def __init__(self, *, noise_size: int = 8, hidden: int = 32, spread: float = 0.02) -> None:
        super().__init__(noise_size)
        self.network = small_network(noise_size, hidden, 6, spread)

    def maps(self, noise_NK: Tensor) -> Tensor:
        """The affine maps from output to input coordinates, (N, 2, 3)."""
        return torch.eye(2, 3, dtype=noise_NK.dtype, device=noise_NK.device) + self.network(noise_NK).view(-1, 2, 3)

    def forward(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{"image": the moved images}."""
        return {"image": moved(seen["input"], self.maps(seen["noise"]))}


def moved(images_NCHW: Tensor, maps_N23: Tensor) -> Tensor:
    """Each image sampled along its affine map; the identity map gives it back."""
    grid_NHW2 = functional.affine_grid(maps_N23.to(images_NCHW), list(images_NCHW.shape), align_corners=False)
    return functional.grid_sample(images_NCHW, grid_NHW2, align_corners=False)


class Mix(Augmentor):
    """Each image blended with the next of the batch by a smooth mask that depends on both images and on noise.

    mask = sigmoid(a coarse grid from a small network, enlarged, + `keep`); `keep` = 4 begins with 98 % of the image.
    """

    def __init__(
        self, channels: int, *, noise_size: int = 8, hidden: int = 32, spread: float = 0.02, keep: float = 4.0
    ) -> None:
        super().__init__(noise_size)
        self.look = nn.Sequential(nn.Conv2d(2 * channels, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.network = small_network(8 * 16 + noise_size, hidden, 16, spread)
        self.keep = keep

    def forward(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{"image": the blended images}."""
        images_NCHW = seen["input"]
        other_NCHW = own(whole(images_NCHW, "a blend of images").roll(1, 0))
        both = self.look(torch.cat([images_NCHW, other_NCHW], 1)).flatten(1)
        grid = self.network(torch.cat([both, seen["noise"]], 1)).view(-1, 1, 4, 4)
        grid = functional.interpolate(grid, images_NCHW.shape[-2:], mode="bilinear", align_corners=False)
        mask = torch.sigmoid(grid + self.keep)
        return {"image": mask * images_NCHW + (1.0 - mask) * other_NCHW}


def shifted(images_NCHW: Tensor, pixels: int) -> Tensor:
    """Each image moved by whole pixels, uniform in -pixels..pixels along each axis; what comes in is 0.

    Drawn from torch's global generator.
    """
    count, _, height, width = images_NCHW.shape
    if pixels >= min(height, width):
        raise ValueError(f"shift: {pixels} pixels move images of {height} x {width} out of themselves; give fewer")
    start_N2 = drawn(count, lambda items: torch.randint(0, 2 * pixels + 1, (2, items)).T)
    start_N2 = sent(start_N2, images_NCHW.device)
    y_NH = start_N2[:, :1] + torch.arange(height, device=images_NCHW.device)
    x_NW = start_N2[:, 1:] + torch.arange(width, device=images_NCHW.device)
    padded = functional.pad(images_NCHW, (pixels,) * 4).permute(0, 2, 3, 1)
    item_N = torch.arange(count, device=images_NCHW.device)[:, None, None]
    return padded[item_N, y_NH[:, :, None], x_NW[:, None, :]].permute(0, 3, 1, 2).contiguous()


def shifts(pixels: int, name: str = "input") -> Prepare:
    """A stage's `prepare` function: the field `name` holds the batch's images, each `shifted`."""
    if pixels < 0:
        raise ValueError(f"shift: a number of pixels >= 0, got {pixels}")

    def prepare(batch: Signals) -> dict[str, Tensor]:
        return {name: shifted(batch["input"], pixels)}

    return prepare

"""Corrupted and shifted images for robustness tests, after the families and five severities of ImageNet-C
(Hendrycks & Dietterich, ICLR 2019), with strengths for small images.

Every function takes images_NCHW float32 in [0, 1], a strength and a generator, and gives new images of the same shape
in [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from embodkd.core.config.registry import Registry

CORRUPTIONS = Registry("corruption")
"""Functions `(images_NCHW, strength, generator)`, with `strengths=` for severities 1..5 beside each."""


def corrupt(name: str, images_NCHW: Tensor, severity: int, seed: int) -> Tensor:
    """Images spoiled by the corruption `name` at `severity` 1..5; a function of its arguments alone.

    ValueError for an unknown name, a severity outside 1..5 or inputs that are not (N, C, H, W).
    """
    function, strengths = CORRUPTIONS.get(name), CORRUPTIONS.metadata(name)["strengths"]
    if severity not in range(1, len(strengths) + 1):
        raise ValueError(f"corruption {name!r}: severity is {severity}, expected 1..{len(strengths)}")
    if images_NCHW.ndim != 4:
        raise ValueError(f"corruption {name!r}: expected images (N, C, H, W), got {tuple(images_NCHW.shape)}")
    generator = torch.Generator().manual_seed(seed)
    return function(images_NCHW, strengths[severity - 1], generator)


@CORRUPTIONS.register("noise", strengths=(0.05, 0.1, 0.2, 0.3, 0.45))
def noise(images_NCHW: Tensor, std: float, generator: Generator) -> Tensor:
    """Gaussian noise of this standard deviation, clipped."""
    return (images_NCHW + std * torch.randn(images_NCHW.shape, generator=generator)).clamp(0.0, 1.0)


# torchvision 0.28 pads by reflection, where this repeats the border; kornia 0.9 gives these numbers to 4e-7, for 31 MB
# of packages in place of six lines, and not to the bit, which is what stored tables are of.
@CORRUPTIONS.register("blur", strengths=(0.03, 0.05, 0.075, 0.1, 0.14))
def blur(images_NCHW: Tensor, sigma: float, generator: Generator) -> Tensor:
    """Gaussian blur; sigma is a fraction of the image's width."""
    channels, width = images_NCHW.shape[1], images_NCHW.shape[3]
    radius = max(1, math.ceil(3 * sigma * width))
    offset_K = torch.arange(-radius, radius + 1, dtype=torch.float32) / (sigma * width)
    kernel_K = (-0.5 * offset_K.square()).softmax(0)
    padded = functional.pad(images_NCHW, (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel_K.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    both = functional.conv2d(rows, kernel_K.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
    return both.clamp(0.0, 1.0)


@CORRUPTIONS.register("contrast", strengths=(0.75, 0.55, 0.4, 0.25, 0.15))
def contrast(images_NCHW: Tensor, factor: float, generator: Generator) -> Tensor:
    """Each image's distance from its own mean, times `factor`."""
    mean = images_NCHW.mean((1, 2, 3), keepdim=True)
    return mean + factor * (images_NCHW - mean)


@CORRUPTIONS.register("brightness", strengths=(0.1, 0.2, 0.3, 0.4, 0.5))
def brightness(images_NCHW: Tensor, offset: float, generator: Generator) -> Tensor:
    """Each image lighter by `offset` or darker by it, at random, clipped."""
    sign = torch.randint(2, (len(images_NCHW), 1, 1, 1), generator=generator) * 2.0 - 1.0
    return (images_NCHW + sign * offset).clamp(0.0, 1.0)


@CORRUPTIONS.register("shift", strengths=(1, 2, 3, 4, 5))
def shift(images_NCHW: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Moved by whole pixels, uniformly in -pixels..pixels along each axis; what comes in is 0."""
    dy_N, dx_N = torch.randint(-pixels, pixels + 1, (2, len(images_NCHW)), generator=generator)
    return cropped(images_NCHW, pixels, pixels - dy_N, pixels - dx_N)


def cropped(images_NCHW: Tensor, pixels: int, y_N: Tensor, x_N: Tensor) -> Tensor:
    """Each image with so many black pixels on every side, cut to its own size from row y and column x (0..2 * pixels)
    on."""
    count, _, height, width = images_NCHW.shape
    y_NH, x_NW = y_N[:, None] + torch.arange(height), x_N[:, None] + torch.arange(width)
    padded = functional.pad(images_NCHW, (pixels,) * 4).permute(0, 2, 3, 1)
    item_N = torch.arange(count)[:, None, None]
    return padded[item_N, y_NH[:, :, None], x_NW[:, None, :]].permute(0, 3, 1, 2).contiguous()


@CORRUPTIONS.register("rotation", strengths=(10.0, 20.0, 30.0, 45.0, 60.0))
def rotation(images_NCHW: Tensor, degrees: float, generator: Generator) -> Tensor:
    """Turned about the centre by a uniform angle in -degrees..degrees, bilinear; what comes in is 0."""
    angle_N = (torch.rand(len(images_NCHW), generator=generator) * 2.0 - 1.0) * math.radians(degrees)
    cos, sin, zero = angle_N.cos(), angle_N.sin(), torch.zeros_like(angle_N)
    turn_N23 = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    grid = functional.affine_grid(turn_N23, list(images_NCHW.shape), align_corners=False)
    return functional.grid_sample(images_NCHW, grid, align_corners=False).clamp(0.0, 1.0)


@CORRUPTIONS.register("style", strengths=(0.2, 0.4, 0.6, 0.8, 1.0))
def style(images_NCHW: Tensor, amount: float, generator: Generator) -> Tensor:
    """Another look at random per image: contrast, brightness and noise at once, each up to `amount` of its most."""
    u_3N = torch.rand((3, len(images_NCHW), 1, 1, 1), generator=generator)
    grain = torch.randn(images_NCHW.shape, generator=generator)
    gain, offset, std = 1.0 - 0.7 * amount * u_3N[0], amount * (u_3N[1] - 0.3) * 0.6, 0.25 * amount * u_3N[2]
    return (gain * images_NCHW + offset + std * grain).clamp(0.0, 1.0)

"""How alike two pictures are: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, SPREAD = 11, 1.5  # pixels
_C1, _C2 = 0.01**2, 0.03**2


def psnr(found_NCHW: Tensor, true_NCHW: Tensor) -> Tensor:
    """Peak signal to noise ratio of pictures in [0, 1], dB, (N,); infinite for equal ones."""
    return -10.0 * torch.log10((found_NCHW - true_NCHW).square().flatten(1).mean(1))


def ssim(found_NCHW: Tensor, true_NCHW: Tensor, *, crop: bool = False) -> Tensor:
    """Structural similarity of pictures in [0, 1], (N,): Wang et al. 2004, a Gaussian window of 11 x 11, sd 1.5.

    The mean over pixels and channels; what lies outside counts as black. crop: only over pixels whose window lies
    inside, as scikit-image does it.
    """
    map_NCHW = ssim_map(found_NCHW, true_NCHW)
    if crop:
        edge = WINDOW // 2
        map_NCHW = map_NCHW[..., edge:-edge, edge:-edge]
    return map_NCHW.flatten(1).mean(1)


def ssim_map(found_NCHW: Tensor, true_NCHW: Tensor) -> Tensor:
    """The similarity around each pixel and in each channel, (N, C, H, W)."""
    channels = found_NCHW.shape[1]
    place = torch.arange(WINDOW, device=found_NCHW.device, dtype=found_NCHW.dtype) - WINDOW // 2
    weight = (-place.square() / (2 * SPREAD**2)).exp()
    weight = weight / weight.sum()

    def blurred(x: Tensor) -> Tensor:
        count = x.shape[1]
        down = functional.conv2d(x, weight.view(1, 1, -1, 1).expand(count, 1, -1, 1), padding=(5, 0), groups=count)
        return functional.conv2d(down, weight.view(1, 1, 1, -1).expand(count, 1, 1, -1), padding=(0, 5), groups=count)

    both = torch.cat([found_NCHW, true_NCHW, found_NCHW.square(), true_NCHW.square(), found_NCHW * true_NCHW], 1)
    mean_x, mean_y, xx, yy, xy = blurred(both).split(channels, 1)
    var_x, var_y, cov = xx - mean_x.square(), yy - mean_y.square(), xy - mean_x * mean_y
    above = (2 * mean_x * mean_y + _C1) * (2 * cov + _C2)
    return above / ((mean_x.square() + mean_y.square() + _C1) * (var_x + var_y + _C2))

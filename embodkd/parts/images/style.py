"""Style of images: their channels' mean and spread, exchanged between the images of a batch (MixStyle on the input)."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.batch.pieces import with_partners
from embodkd.core.batch.whole import drawn, whole
from embodkd.core.recipe import Prepare
from embodkd.core.signals import Signals
from embodkd.core.transfer import sent

# torchvision 0.28 and kornia 0.9 have no MixStyle (kornia only mixes pixels); its authors' layer draws by process.
SMALLEST = 1e-6


def style(images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and sqrt(sample variance + 1e-6) over the pixels of each image and channel, (N, C, 1, 1) each, detached."""
    fixed = images_NCHW.detach()
    return fixed.mean((2, 3), keepdim=True), (fixed.var((2, 3), keepdim=True) + SMALLEST).sqrt()


def restyled(images_NCHW: Tensor, share_N: Tensor, other_N: Tensor) -> Tensor:
    """Each image in a mixed style: `share` of its own, the rest that of image `other` of the whole batch.

    x' = (x - mu) / sigma * [l sigma + (1 - l) sigma_other] + [l mu + (1 - l) mu_other]. Source: Zhou et al., ICLR 2021
    (MixStyle, arXiv:2104.02008), eq. 4-6, here on the input as in KD^3 (arXiv:2307.11469).
    """
    mean, std = style(images_NCHW)
    share = sent(share_N, images_NCHW).view(-1, 1, 1, 1)
    new_mean, new_std = (share * each + (1.0 - share) * whole(each, "a mix of styles")[other_N] for each in (mean, std))
    return (images_NCHW - mean) / std * new_std + new_mean


def mix_styles(concentration: float = 0.1, name: str = "mixed") -> Prepare:
    """A stage's `prepare` function: the field `name` holds each image restyled with another of the batch.

    One share per image from Beta(concentration, concentration) and one random permutation of the whole batch, both
    drawn on the CPU from torch's global generator.
    """
    if concentration <= 0:
        raise ValueError(f"mix_styles: the concentration must be positive, got {concentration}")
    beta = torch.distributions.Beta(concentration, concentration)

    def prepare(batch: Signals) -> dict[str, Tensor]:
        share_N = drawn(batch.items_count, lambda count: beta.sample((count,)))
        other_N = drawn(batch.items_count, torch.randperm)
        return {name: restyled(batch["input"], share_N, sent(other_N, batch["input"].device))}

    return with_partners(prepare)

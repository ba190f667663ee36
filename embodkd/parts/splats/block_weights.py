"""Blocks that are behind the others count more: weights by how well each is rendered."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import Context, Role, TensorData
from embodkd.parts.images.similarity import psnr, ssim


class BlockWeights(nn.Module):
    """What each block's validation came to, as buffers, and the weights that follow from it.

    w = 2 - exp(-((P* - P)^2 + (10 S* - 10 S)^2) / (2 sigma^2)), P and S running averages of PSNR (dB) and SSIM, P* and
    S* the best of all measured blocks; 1 for a block that was not measured yet. smoothing: the share of the old value.
    """

    psnr_B: Tensor
    ssim_B: Tensor
    known_B: Tensor

    def __init__(self, blocks: int, sigma: float, smoothing: float) -> None:
        super().__init__()
        self.sigma, self.smoothing = sigma, smoothing
        for name in ("psnr_B", "ssim_B"):
            self.register_buffer(name, torch.zeros(blocks))
        self.register_buffer("known_B", torch.zeros(blocks, dtype=torch.bool))

    @torch.no_grad()
    def measured(self, block: int, psnr: float, ssim: float) -> None:
        """Take in a new measurement of a block; the first one counts whole."""
        kept = self.smoothing if self.known_B[block] else 0.0
        for average_B, value in ((self.psnr_B, psnr), (self.ssim_B, ssim)):
            average_B[block] = kept * average_B[block] + (1.0 - kept) * value
        self.known_B[block] = True

    def look(self, role: Role, block: int, views: TensorData, context: Context) -> dict[str, float]:
        """A step: take in how like the block's `views` what `role` shows of it is now, on the average."""
        batch = views.gather(np.arange(views.size()), 0).to(context.device)
        shown = role.signals(batch)["image"]
        psnr_b, ssim_b = (alike(shown, batch["image"]).mean().item() for alike in (psnr, ssim))
        self.measured(block, psnr_b, ssim_b)
        found = {"psnr": psnr_b, "ssim": ssim_b, "weight": self()[block].item()}
        return {f"block_{block}/{name}": value for name, value in found.items()}

    def forward(self) -> Tensor:
        """The weights (B,), in [1, 2)."""
        if not self.known_B.any():
            return torch.ones_like(self.psnr_B)
        behind_B = self._gaps(self.psnr_B).square() + (10.0 * self._gaps(self.ssim_B)).square()
        return 2.0 - (-behind_B / (2.0 * self.sigma**2)).exp()

    def _gaps(self, average_B: Tensor) -> Tensor:
        best = average_B[self.known_B].max()
        return (best - average_B).where(self.known_B, 0.0)


def showing(views: TensorData, block: int, least: float, where: str) -> TensorData:
    """The views of whose pictures at least this share shows the block; ValueError, begun by `where`, if none does."""
    rows = (views.fields["share"][:, block] >= least).nonzero().squeeze(1)
    if not len(rows):
        raise ValueError(f"{where}: no view shows {least:.0%} of block {block}: lower contribution, or give more views")
    return TensorData({name: values[rows] for name, values in views.fields.items()})

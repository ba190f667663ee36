"""The 1-D U-Net of Diffusion Policy (arXiv 2303.04137): a sequence of actions, its noise level and what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_TIME = 256  # width of the noise level's embedding
_GROUPS = 8


class ConditionalUnet1d(nn.Module):
    """(noisy actions (N, H, A), noise level (N,), condition (N, G)) -> the noise in them (N, H, A).

    widths: channels of the levels; each but the last halves the length, so H must be divisible by
    2^(levels - 1). The skip of the first level is not used, as in the released network.
    """

    def __init__(self, action_size: int, condition: int, widths: Sequence[int]) -> None:
        super().__init__()
        if not widths or any(width % _GROUPS for width in widths):
            raise ValueError(f"unet: each of widths must be a multiple of {_GROUPS}, got {list(widths)}")
        context = _TIME + condition
        self.time = nn.Sequential(nn.Linear(_TIME, 4 * _TIME), nn.Mish(), nn.Linear(4 * _TIME, _TIME))
        levels = list(zip((action_size, *widths), widths, strict=False))
        self.down = nn.ModuleList(
            nn.ModuleList([ResidualBlock(a, b, context), ResidualBlock(b, b, context)]) for a, b in levels
        )
        self.shrink = nn.ModuleList(nn.Conv1d(b, b, 3, stride=2, padding=1) for _, b in levels[:-1])
        self.middle = nn.ModuleList(ResidualBlock(widths[-1], widths[-1], context) for _ in range(2))
        upward = levels[:0:-1]
        self.up = nn.ModuleList(
            nn.ModuleList([ResidualBlock(2 * b, a, context), ResidualBlock(a, a, context)]) for a, b in upward
        )
        self.grow = nn.ModuleList(nn.ConvTranspose1d(a, a, 4, stride=2, padding=1) for a, _ in upward)
        self.out = nn.Sequential(conv_block(widths[0], widths[0]), nn.Conv1d(widths[0], action_size, 1))

    def forward(self, noisy_NHA: Tensor, level_N: Tensor, condition_NG: Tensor) -> Tensor:
        """See the class."""
        context_NG = torch.cat([self.time(time_features(level_N)), condition_NG], dim=1)
        x_NCH, skips = noisy_NHA.transpose(1, 2), []
        for level, blocks in enumerate(self.down):
            x_NCH = _through(blocks, x_NCH, context_NG)
            skips.append(x_NCH)
            if level < len(self.shrink):
                x_NCH = self.shrink[level](x_NCH)
        x_NCH = _through(self.middle, x_NCH, context_NG)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            x_NCH = grow(_through(blocks, torch.cat([x_NCH, skips.pop()], dim=1), context_NG))
        return self.out(x_NCH).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Two convolutions, between them scale and shift by the context (FiLM), and a skip around both."""

    def __init__(self, before: int, after: int, context: int) -> None:
        super().__init__()
        self.first, self.second = conv_block(before, after), conv_block(after, after)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(context, 2 * after))
        self.skip = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x_NCH: Tensor, context_NG: Tensor) -> Tensor:
        """(N, before, H) -> (N, after, H)."""
        scale_NC1, shift_NC1 = self.film(context_NG)[:, :, None].chunk(2, dim=1)
        # No "1 +": the released network multiplies by the scale itself.
        return self.second(scale_NC1 * self.first(x_NCH) + shift_NC1) + self.skip(x_NCH)


def conv_block(before: int, after: int) -> nn.Sequential:
    """Convolution over five steps, group normalisation, Mish."""
    return nn.Sequential(nn.Conv1d(before, after, 5, padding=2), nn.GroupNorm(_GROUPS, after), nn.Mish())


def time_features(level_N: Tensor) -> Tensor:
    """Sines, then cosines, of the noise level at 128 frequencies from 1 down to 1e-4, (N, 256)."""
    half = _TIME // 2
    frequency_F = torch.exp(torch.arange(half, device=level_N.device) * (-math.log(1e4) / (half - 1)))
    angle_NF = level_N[:, None] * frequency_F
    return torch.cat([angle_NF.sin(), angle_NF.cos()], dim=1)


def _through(blocks: nn.Module, x_NCH: Tensor, context_NG: Tensor) -> Tensor:
    for block in blocks.children():
        x_NCH = block(x_NCH, context_NG)
    return x_NCH

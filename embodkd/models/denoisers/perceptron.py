"""A residual multilayer perceptron as a denoiser: points of a plane, and pictures as small as digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, Depth, Positive, Real, Whole, Width, Within
from embodkd.core.process import Prediction
from embodkd.models.base import MODELS
from embodkd.models.denoisers.base import Denoiser, waves

Levels = Annotated[int, Within(1, 100_000)]


@MODELS.register("denoiser", title="denoiser: a residual perceptron (extra: diffusion)")
class MLPDenoiser(Denoiser):
    """`blocks` residual blocks of `width`, each told level and class by a sum after its first layer."""

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        width: Width = 192,
        blocks: Depth = 3,
        schedule: str = "linear",
        levels: Levels = 1000,
        prediction: Prediction = "epsilon",
        centre: Real = 0.5,
        spread: Positive = 0.5,
        conditional: bool = False,
        steps: Count = 50,
        jump: Whole | None = None,
    ) -> None:
        super().__init__(
            shape,
            classes,
            schedule=schedule,
            levels=levels,
            prediction=prediction,
            centre=centre,
            spread=spread,
            conditional=conditional,
            steps=steps,
            jump=jump,
        )
        size = math.prod(shape)
        self.enter = nn.Linear(size, width)
        self.time = nn.Sequential(nn.Linear(2 * (width // 2), width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width) if conditional else None
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, size)

    def answer(self, noisy: Tensor, level_N: Tensor, label_N: Tensor | None) -> Tensor:
        """(N, *shape)."""
        x_ND = self.enter(noisy.flatten(1))
        # levels of "edm" are logarithms of a few units
        scale = 250.0 if self.process.schedule == "edm" else 1.0
        told_ND = self.time(waves(level_N * scale, len(self.norm.weight), x_ND))
        if self.label is not None:
            assert label_N is not None
            told_ND = told_ND + self.label(label_N)
        for block in self.blocks:
            x_ND = block(x_ND, told_ND)
        return self.head(self.norm(x_ND)).view_as(noisy)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.inner, self.outer = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x_ND: Tensor, told_ND: Tensor) -> Tensor:
        return x_ND + self.outer(torch.nn.functional.silu(self.inner(self.norm(x_ND)) + told_ND))

"""Numbers scaled by the range that they were seen in, as imitation does; the ranges travel with the weights."""

from __future__ import annotations

import torch
from embodkd.policies.normaliser import Normaliser
from torch import Tensor

# Less than this, of what a number comes to, is noise of single precision; scaled up to [-1, 1] it would look like a
# measurement.
_CONSTANT = 1e-5


class MinMaxNormaliser(Normaliser):
    """x -> 2 (x - low) / (high - low) - 1 per dimension, then clipped to +-`clamp` if one is given.

    A dimension that never moved keeps its scale: its value becomes 0, and one unit more or less becomes +-1. Before
    the first update it is the identity (with the clip). Source: arXiv 2407.16677, whose states are clipped to +-3.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, size: int, clamp: float | None = None) -> None:
        super().__init__(size)
        self.clamp = clamp
        self.register_buffer("low", -torch.ones(size))
        self.register_buffer("high", torch.ones(size))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def forward(self, x_ND: Tensor) -> Tensor:
        """`normalise`."""
        return self.normalise(x_ND)

    def normalise(self, x_ND: Tensor) -> Tensor:
        """Values (..., D) in their own units -> about [-1, 1]."""
        scaled = (x_ND - self._centre()) / self._half()
        return scaled if self.clamp is None else scaled.clamp(-self.clamp, self.clamp)

    def denormalise(self, scaled_ND: Tensor) -> Tensor:
        """Normalised values (..., D) -> their own units."""
        return scaled_ND * self._half() + self._centre()

    @torch.no_grad()
    def fit(self, x_ND: Tensor) -> None:
        """Take the ranges of these rows (N, D) in place of any former ones; ignored once frozen. Raises as `update`."""
        if not self.frozen:
            self.check(x_ND)
            self.seen.fill_(False)
            self.update(x_ND)

    @torch.no_grad()
    def update(self, x_ND: Tensor) -> None:
        """Widen the ranges to include these rows (N, D); ignored once frozen. ValueError as from `check`."""
        if self.frozen or not len(x_ND):
            return
        self.check(x_ND)
        x_ND = x_ND.to(self.low)
        low_D, high_D = x_ND.amin(0), x_ND.amax(0)
        self.low.copy_(torch.minimum(self.low, low_D) if self.seen else low_D)
        self.high.copy_(torch.maximum(self.high, high_D) if self.seen else high_D)
        self.seen.fill_(True)

    def _centre(self) -> Tensor:
        return (self.low + self.high) / 2

    def _half(self) -> Tensor:
        half_D = (self.high - self.low) / 2
        least_D = _CONSTANT / 2 * self._centre().abs().clamp(min=1.0)
        return torch.where(half_D > least_D, half_D, torch.ones_like(half_D))

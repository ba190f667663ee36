"""Running mean and standard deviation of observations, as a module whose statistics travel with the weights."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """Rows of `size` numbers to numbers about 0. Statistics come from `update` alone, until `freeze`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.frozen = False

    def forward(self, x_ND: Tensor) -> Tensor:
        """Normalised (N, D)."""
        raise NotImplementedError

    def update(self, x_ND: Tensor) -> None:
        """Merge a batch (N, D) into the statistics; ignored once frozen. ValueError as from `check`."""
        raise NotImplementedError

    def freeze(self) -> Self:
        """Ignore every later `update`."""
        self.frozen = True
        return self

    def check(self, x_ND: Tensor) -> None:
        """ValueError for another width or a value that is not finite."""
        if x_ND.shape[1:] != (self.size,):
            raise ValueError(f"the normaliser is for {self.size} numbers per row, got {tuple(x_ND.shape)}")
        # One sum per column is not finite exactly if an entry is not (short of overflow, which as double is far).
        finite_D = torch.isfinite(x_ND.to(torch.float64).sum(0))
        if not finite_D.all():
            bad = (~finite_D).nonzero().flatten().tolist()
            raise ValueError(f"observations {bad[:8]} are not finite: statistics unchanged; look at the simulator")


class RunningNormaliser(Normaliser):
    """x -> clip((x - mean) / sqrt(variance + eps), +-clip), statistics merged batch by batch.

    Accumulators are float64 buffers and merge exactly (Chan, Golub and LeVeque 1979), so the order and the cutting of
    batches change the result by rounding only. Nothing changes in `forward`: call `update`. Before the first update
    it is the identity (with the clip).
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, size: int, clip: float = 5.0, eps: float = 1e-5) -> None:
        super().__init__(size)
        self.clip, self.eps = clip, eps
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))
        # What forward uses: single precision, made from the accumulators whenever these change.
        self.register_buffer("shift", torch.zeros(size), persistent=False)
        self.register_buffer("scale", torch.ones(size), persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module.refresh())

    def forward(self, x_ND: Tensor) -> Tensor:
        """Normalised float32 (N, D)."""
        return ((x_ND - self.shift) * self.scale).clamp(-self.clip, self.clip)

    @torch.no_grad()
    def update(self, x_ND: Tensor) -> None:
        """Merge a batch (N, D); ignored once frozen. ValueError as from `check`."""
        if self.frozen or not len(x_ND):
            return
        self.check(x_ND)
        # As double, rows summed at once: a float32 sum over 4096 rows already loses 3 digits of the variance.
        x_ND = x_ND.to(self.mean.device, torch.float64)
        mean_D = x_ND.mean(0)
        count = float(len(x_ND))
        total = self.count + count
        delta_D = mean_D - self.mean
        self.squares += (x_ND - mean_D).square().sum(0) + delta_D.square() * (self.count * count / total)
        self.mean += delta_D * (count / total)
        self.count.copy_(total)
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute what `forward` uses from the accumulators."""
        if self.count > 0:
            self.shift.copy_(self.mean)
            self.scale.copy_((self.squares / self.count + self.eps).rsqrt())

"""How a chunk policy scales its states and actions: by what range of the demonstrations, per dimension."""

from __future__ import annotations

from typing import Literal

import torch
from embodkd.policies.minmax import MinMaxNormaliser
from torch import Tensor

Scaling = Literal["range", "deviation", "quantiles"]
"""range: from the smallest to the largest; deviation: the mean, give or take one standard deviation; quantiles: between
the first and the last hundredth, for demonstrations with outliers. That becomes [-1, 1]."""

_TAIL = 0.01


class _Together(MinMaxNormaliser):
    """A range that is taken from all rows at once and does not grow with later ones."""

    def update(self, x_ND: Tensor) -> None:
        """Refuse rows that come bit by bit."""
        if self.frozen or not len(x_ND):
            return
        raise ValueError(
            "deviation and quantiles are taken from all demonstrations at once, and here they come bit by bit: choose "
            "student.scaling=range"
        )

    @torch.no_grad()
    def fit(self, x_ND: Tensor) -> None:
        """See MinMaxNormaliser.fit."""
        if self.frozen:
            return
        self.check(x_ND)
        rows_ND = x_ND.to(self.low.device, torch.float64)
        low_D, high_D = self._between(rows_ND)
        # Where nearly all rows are alike, as of a gripper that hardly ever opens, the whole range counts.
        alike_D = high_D - low_D <= 0.01 * (rows_ND.amax(0) - rows_ND.amin(0))
        self.low.copy_(torch.where(alike_D, rows_ND.amin(0), low_D))
        self.high.copy_(torch.where(alike_D, rows_ND.amax(0), high_D))
        self.seen.fill_(True)

    def _between(self, rows_ND: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


class DeviationNormaliser(_Together):
    """x -> (x - mean) / standard deviation."""

    def _between(self, rows_ND: Tensor) -> tuple[Tensor, Tensor]:
        mean_D, deviation_D = rows_ND.mean(0), rows_ND.std(0, correction=0)
        return mean_D - deviation_D, mean_D + deviation_D


class QuantileNormaliser(_Together):
    """The first hundredth becomes -1, the last one 1."""

    def _between(self, rows_ND: Tensor) -> tuple[Tensor, Tensor]:
        # By sorting: torch.quantile takes 16 million numbers at most.
        ordered_ND = rows_ND.sort(0).values
        last = len(rows_ND) - 1
        return ordered_ND[round(_TAIL * last)], ordered_ND[round((1 - _TAIL) * last)]


_NORMALISERS = {"range": MinMaxNormaliser, "deviation": DeviationNormaliser, "quantiles": QuantileNormaliser}
# States this far outside of the demonstrations look alike (arXiv 2407.16677 for the range).
_CLAMP = {"range": 3.0, "deviation": 10.0, "quantiles": 3.0}


def for_actions(scaling: Scaling, size: int) -> MinMaxNormaliser:
    """What scales `size` numbers, without a limit."""
    return _NORMALISERS[scaling](size)


def for_states(scaling: Scaling, size: int) -> MinMaxNormaliser:
    """What scales `size` numbers, those far outside of the demonstrations clipped."""
    return _NORMALISERS[scaling](size, clamp=_CLAMP[scaling])

"""The copies of one training shared out among processes: what each tells the others, so that all make one update.

Every process steps its own copies, in blocks: those of the first process are the first. What depends on all copies (a
minibatch's gradient, statistics, the mean of the advantages) is a sum over processes, which is what one process with
all copies finds, within rounding. Random numbers are drawn for all copies everywhere, and each process takes its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embodkd.core.batch.sums import all_sum
from embodkd.core.ranks import ranks
from embodkd.policies import RunningNormaliser
from embodkd.rl.advantages import standardise


@dataclass(frozen=True)
class Copies:
    """This process has `own` of `total` copies, from number `first` on."""

    own: int
    total: int
    first: int

    @classmethod
    def of(cls, own: int) -> Copies:
        """What all processes have, each of which says how many are its `own`; a call that all must make."""
        counts = ranks().gather(own)
        return cls(own, sum(counts), sum(counts[: ranks().rank]) if len(counts) > 1 else 0)

    @property
    def shared(self) -> bool:
        """Whether other processes have some."""
        return self.own < self.total

    def noise(self, steps: int, width: int) -> Tensor:
        """Standard normal numbers (T, own, width), the same for a copy however many processes there are."""
        return torch.randn(steps, self.total, width)[:, self.first : self.first + self.own]

    def rows(self, order: Tensor, size: int) -> tuple[Tensor, list[int]]:
        """Of all rows (step-major, a row per copy) in an `order`, this process's by its own numbers, and how many of
        them stand before the end of each piece of `size`."""
        step, copy = order // self.total, order % self.total - self.first
        mine = (copy >= 0) & (copy < self.own)
        ends = [*range(size, len(order), size), len(order)]
        return (step * self.own + copy)[mine], mine.cumsum(0)[torch.tensor(ends) - 1].tolist()

    def joined(self, own_TN: np.ndarray) -> np.ndarray:
        """(T, own) of every process as (T, total)."""
        return np.concatenate(ranks().gather(own_TN), axis=1)


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over processes."""
    return value if ranks().size == 1 else all_sum(value)


def standardised(values: Tensor) -> Tensor:
    """`standardise` by mean and deviation of the values of all processes."""
    if ranks().size == 1:
        return standardise(values)
    count, whole = total(torch.stack([values.new_tensor(values.numel()), values.sum()]).double())
    centred = values - (whole / count).float()
    if count == 1:
        return centred
    deviation = (total(centred.double().square().sum()) / (count - 1)).sqrt()
    return centred / (deviation.float() + 1e-8)


@torch.no_grad()
def see_together(normalisers: Iterable[RunningNormaliser], show: Callable[[], None]) -> None:
    """Call `show`, which shows rows to `normalisers`; of several processes each has then seen the rows of all."""
    if ranks().size == 1:
        show()
        return
    moments = [(one.count, one.mean, one.squares) for one in normalisers]
    before = [[value.clone() for value in values] for values in moments]
    for value in (value for values in moments for value in values):
        value.zero_()
    show()
    seen = ranks().gather([[value.clone() for value in values] for values in moments])
    for place, (one, values) in enumerate(zip(normalisers, moments, strict=True)):
        merged: Sequence[Tensor] = before[place]
        for of_rank in seen:
            merged = _merged(merged, of_rank[place])
        for value, new in zip(values, merged, strict=True):
            value.copy_(new)
        one.refresh()


def _merged(one: Sequence[Tensor], other: Sequence[Tensor]) -> Sequence[Tensor]:
    """Count, mean and squares of both (Chan, Golub and LeVeque 1979)."""
    (count, mean_D, squares_D), (more, mean_other_D, squares_other_D) = one, other
    if more == 0:
        return one
    whole = count + more
    delta_D = mean_other_D - mean_D
    return (
        whole,
        mean_D + delta_D * (more / whole),
        squares_D + squares_other_D + delta_D.square() * (count * more / whole),
    )

"""A budget that several stages share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from embodkd.core import Budget, TensorData


def in_parts(budget: Budget, source: TensorData, shares: Sequence[float]) -> list[Budget]:
    """Budgets of these shares of the updates that `budget` makes of `source`, as many in all; at least one each."""
    if len(shares) == 1:
        return [budget]
    total = budget.updates or budget.epochs * -(-source.size() // budget.batch_size)
    ends = [round(total * sum(shares[:k]) / sum(shares)) for k in range(len(shares) + 1)]
    return [replace(budget, updates=max(1, end - start)) for start, end in pairwise(ends)]

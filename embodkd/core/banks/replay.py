"""Replay: a student learns from the views that a bank's rows were made of, and a look whether the rows still hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from embodkd.core.banks.choice import RECORDS
from embodkd.core.banks.passes import answered, place
from embodkd.core.banks.store import hold
from embodkd.core.signals import Signals
from embodkd.core.sources.wrapped import Wrapped

if TYPE_CHECKING:
    from embodkd.core.banks.bank import Bank

PASS = "bank_pass"
"""The batch field that says which pass of a bank answers, (N,)."""


class AsSeen(Wrapped):
    """See `Bank.as_seen`. Batches have the field `bank_pass` and, where the bank has them, the stored seeds."""

    def __init__(self, bank: Bank, other_views: bool = False) -> None:
        super().__init__(bank.source)
        self._bank, self._other_views = bank, other_views

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index`, as they were seen in that stored pass."""
        bank = self._bank
        e = bank.epoch + epoch % bank.epochs
        batch = self.source.gather(index, e + bank.epochs if self._other_views else e)
        batch = batch.merge(**{PASS: torch.full((len(index),), e)})
        if bank.choice.replay is None or self._other_views:
            return batch
        seeds_N = bank.store(batch).of_items(bank.choice.replay, batch["sample_id"].numpy())
        return batch.merge(**{bank.choice.replay: seeds_N})


@dataclass(frozen=True)
class Verified:
    """How far the stored rows are from the answers of today.

    rows: how many were asked for again; difference: mean |stored - today's| of all their numbers but class indices and
    seeds; differing: the share of class indices that are not the same.
    """

    rows: int
    difference: float
    differing: float


def verified(bank: Bank, share: float, device: torch.device | str) -> Verified:
    """See `Bank.verify`."""
    if not 0.0 < share <= 1.0:
        raise ValueError(f"bank.verify: a share must lie in (0, 1], got {share}")
    place(bank.answerer, device)
    source, size = bank.as_seen(), bank.source.size()
    count = max(1, round(share * size))
    apart, others = _Mean(), _Mean()
    for p, e in enumerate(bank.passes):
        chosen = np.sort(np.random.default_rng((0xC4EC, e)).permutation(size)[:count])
        for start in range(0, count, bank.batch_size):
            rows = source.gather(chosen[start : start + bank.batch_size], p)
            masks = {mask: rows[mask].bool() for mask in bank.choice.lengths.values() if mask in rows}
            today = hold([bank.choice(answered(bank.answerer, rows, device))], bank.name)
            ids = rows["sample_id"].numpy()
            live, stored = today.signals(ids, masks), bank.store(rows).signals(ids, masks)
            for column in (column for column in today.columns if column.name != bank.choice.replay):
                a, b = (s[column.name] if not column.mask else s[column.name][s[column.mask]] for s in (live, stored))
                if column.name.endswith("index") and column.file.startswith(RECORDS):
                    others.add(a != b)
                else:
                    apart.add((a.double() - b.double()).abs())
    return Verified(count * bank.epochs, apart.value(), others.value())


class _Mean:
    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def add(self, values: torch.Tensor) -> None:
        self._total, self._count = self._total + float(values.sum()), self._count + values.numel()

    def value(self) -> float:
        return self._total / max(1, self._count)

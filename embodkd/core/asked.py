"""A teacher that is asked for a part of the rows of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from embodkd.core.role import Role, roles_of
from embodkd.core.signals import Signals


class Asked:
    """`answerer`, asked only for the items where the field `where` of the batch, (N,), is true; zeros for the others.

    A frozen teacher of one domain costs nothing on the items of another one. Its signals have one row per item.
    """

    def __init__(self, answerer: Any, where: str) -> None:
        self.answerer, self.where = answerer, where

    @property
    def fixed(self) -> bool:
        """As its answerer."""
        return bool(getattr(self.answerer, "fixed", False))

    def roles(self) -> Iterator[Role]:
        """Those of its answerer."""
        yield from roles_of(self.answerer)

    def signals(self, batch: Signals) -> Signals:
        """The answers, each in its item's place."""
        place_K = batch[self.where].bool().nonzero().squeeze(1)
        # Nobody knows the shapes of an answer that was not given: one item is asked, and its answer is not shown.
        nobody = len(place_K) == 0
        asked = self.answerer.signals(batch.rows(place_K.new_zeros(1) if nobody else place_K))
        return asked.map(lambda rows: _placed(rows[:0] if nobody else rows, place_K, batch.items_count))


def _placed(rows_K: Tensor, place_K: Tensor, count: int) -> Tensor:
    return torch.zeros(count, *rows_K.shape[1:], dtype=rows_K.dtype, device=rows_K.device).index_copy(
        0, place_K, rows_K
    )

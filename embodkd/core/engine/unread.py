"""Losses that lie on a card and that nobody has read yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from embodkd.core.batch.pieces import Piece, whole_batch
from embodkd.core.engine.bad_loss import BadLoss, culprit
from embodkd.core.recipe import Player

MOST = 32
"""Updates whose batches are kept in the host's memory, to be saved if one of them was bad."""


class _Update(NamedTuple):
    number: int
    rows: Sequence[Piece]
    players: Sequence[Player]
    keys: Sequence[tuple[int, str]]
    numbers_K: Tensor


class Unread:
    """The losses and gradients of the last updates: to read one, the host would wait for all that the card has to do.

    From the first one that is not finite on `stopped`, on the card, is 1, which keeps every optimiser of the stage
    where it is (torch's `found_inf`). So nothing has moved when `look` reads them all at once and raises.
    """

    GRADIENT = "the gradient"

    def __init__(self, device: torch.device) -> None:
        self.stopped = torch.zeros((), dtype=torch.float32, device=device)  # the type that they take
        self._update, self._rows = 0, list[Piece]()
        self._kept: list[_Update] = []

    def begin(self, update: int, rows: Sequence[Piece]) -> None:
        """The run's update `update` is at hand, with this batch in the host's memory."""
        self._update, self._rows = update, list(rows)

    def keep(self, players: Sequence[Player], totals: Mapping[tuple[int, str], Tensor]) -> None:
        """What came of the players: (place of the player, term) -> number; judged are "" (the loss) and GRADIENT."""
        judged = [value.double() for (_, term), value in totals.items() if term in ("", self.GRADIENT)]
        bad = ~torch.isfinite(torch.stack(judged)).all()
        self.stopped = torch.maximum(self.stopped, bad.to(self.stopped))
        numbers_K = torch.stack([value.double() for value in totals.values()])
        self._kept.append(_Update(self._update, self._rows, players, list(totals), numbers_K))

    @property
    def full(self) -> bool:
        """Whether it is time for a look."""
        return len(self._kept) >= MOST

    def look(self) -> None:
        """Read them; BadLoss for the first one that is not finite."""
        kept, self._kept = self._kept, []
        if not kept:
            return
        numbers = torch.cat([one.numbers_K for one in kept]).cpu()
        for one, numbers_K in zip(kept, numbers.split([len(one.keys) for one in kept]), strict=True):
            totals = dict(zip(one.keys, numbers_K, strict=True))
            for k, player in enumerate(one.players):
                own = {term: value for (of, term), value in totals.items() if of == k}
                loss, gradient = own.pop(""), own.pop(self.GRADIENT, None)
                if not torch.isfinite(loss):
                    raise BadLoss(player, culprit(own), whole_batch(one.rows), one.number)
                if gradient is not None and not torch.isfinite(gradient):
                    raise BadLoss(player, self.GRADIENT, whole_batch(one.rows), one.number)

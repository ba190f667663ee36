"""A loss or gradient that is not finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from embodkd.core.recipe import Player
from embodkd.core.runs.finite import first_not_finite
from embodkd.core.signals import Signals


class BadLoss(FloatingPointError):
    """A loss or gradient that is not finite: `term` names it, `batch` is what caused it.

    Where a weight or buffer of the player is not finite either, the message names the first one: then an earlier update
    is to blame, not the batch. update: the run's, where it is not the one at hand.
    """

    def __init__(self, player: Player, term: str, batch: Signals, update: int | None = None) -> None:
        names = {"": player.train.model, **player.helpers}
        tensors = {f"{at}.{n}".strip("."): v for at, m in names.items() for n, v in m.state_dict().items()}
        broken = first_not_finite(tensors)
        since = "" if broken is None else f", and {broken} has not been since an update before this one"
        super().__init__(f"player {player.name!r}: {term} is not finite (NaN or infinite){since}")
        self.player, self.term, self.batch, self.update = player.name, term, batch, update


def culprit(sums: Mapping[str, Tensor]) -> str:
    """Which of the terms are not finite, in words."""
    bad = [repr(name) for name, value in sums.items() if not torch.isfinite(value)]
    return f"term {', '.join(bad)}" if bad else "a weight"

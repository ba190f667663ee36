"""A budget of parameters that gates must keep, held by multipliers that climb as long as too many are left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core import Gated, Optimiser, Player, Role, Schedule, Signals


class Multipliers(nn.Module):
    """What a lack of sparsity costs: `linear` for each share that is missing, and `square` for the square of it."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.linear, self.square = nn.Parameter(torch.tensor(start)), nn.Parameter(torch.tensor(start))

    def forward(self, target_N: Tensor) -> dict[str, Tensor]:
        """Both, the same for every item, (N,)."""
        return {"linear": self.linear.expand(len(target_N)), "square": self.square.expand(len(target_N))}

    @torch.no_grad()
    def restart(self, start: float) -> None:
        """Both are `start` again."""
        self.linear.fill_(start)
        self.square.fill_(start)


class Sparsity:
    """The share of the parameters that gates take out in expectation, and the players' term about it.

    prefixes: of the gates of each part of the network that has a share of its own, ("",) for all together; the mean
    over the parts counts.
    """

    def __init__(self, gated: Gated, prefixes: Sequence[str] = ("",)) -> None:
        self.gated, self.prefixes = gated, tuple(prefixes)

    def shares(self) -> Tensor:
        """What is taken out of each part, (P,), with gradient to the gates."""
        kept = [self.gated.expected(prefix) / self.gated.prunable(prefix) for prefix in self.prefixes]
        return 1.0 - torch.stack(kept)

    def term(self, batch: Signals, price: Signals, *, detach: bool = False) -> Tensor:
        """linear * lack + square * lack^2, (N,); lack = max(target - share, 0), 0 once it is sparse enough.

        The target is the batch's field of that name (N,); detach: no gradient to the gates.
        """
        shares_P = self.shares().detach() if detach else self.shares()
        lack_NP = (batch.target_N[:, None] - shares_P).clamp(min=0.0)
        return (price.linear_N[:, None] * lack_NP + price.square_N[:, None] * lack_NP.square()).mean(1)

    def player(self, multipliers: Multipliers, rate: float, target: Any) -> Player:
        """The one who climbs: it raises the price as long as the share is below the target (a schedule)."""

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"price": self.term(batch, s, detach=True)}

        own = Role(multipliers, view="target")
        moves = Optimiser("adam", rate)
        return Player(own, terms, ascent=True, optimiser=moves, scheduled={"target": target}, name="budget")


def climb(start: float, end: float, updates: int) -> Schedule:
    """A target that grows in equal parts from `start` at update 0 to `end` at update `updates`, and stays there."""
    return Schedule("step", values=tuple(start + (end - start) * k / updates for k in range(updates + 1)))

"""Two players that take turns by thresholds: one learns until it does well, the other until it does badly again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from embodkd.core.weights.weight import Controller


class Turns(nn.Module):
    """Whose turn it is: player 0, the learner, begins.

    Both watch the same quantity, whose first value other than 0 is the unit. The learner's turn ends when it falls
    below `low`, the adversary's (player 1) when it rises above `high`, or after `patience` updates, should it never get
    there.
    """

    def __init__(self, low: float, high: float, patience: int) -> None:
        super().__init__()
        if not 0 < low < high or patience < 1:
            raise ValueError(f"turns: need 0 < low < high and patience >= 1; got {low}, {high}, {patience}")
        self.low, self.high, self.patience = low, high, patience
        self.turn: Tensor
        self.first: Tensor
        self.spent: Tensor
        self.register_buffer("turn", torch.tensor(0))
        self.register_buffer("first", torch.tensor(0.0))
        self.register_buffer("spent", torch.tensor(0))

    def of(self, player: int) -> Callable[[], bool]:
        """A `Player.when`: it is this player's turn."""
        return lambda: int(self.turn) == player

    def watching(self, player: int, term: str, weights: Mapping[str, float]) -> Controller:
        """A controller with fixed `weights` by which `player` tells what its term `term` comes to."""
        return _Watch(self, player, term, weights)

    @torch.no_grad()
    def see(self, player: int, value: Tensor) -> None:
        """What the watched quantity was in an update of `player`; the turn may end with it."""
        if self.first == 0:
            self.first.copy_(value)
        self.spent += 1
        if player == 0:
            over = bool(value < self.low * self.first)
        else:
            over = bool(value > self.high * self.first) or int(self.spent) >= self.patience
        if over:
            self.turn.fill_(1 - player)
            self.spent.zero_()


class _Watch(Controller):
    def __init__(self, turns: Turns, player: int, term: str, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.turns, self.player, self.term, self.weights = turns, player, term, dict(weights)

    def forward(self, means: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        self.turns.see(self.player, means[self.term])
        return self.known()

    def known(self) -> dict[str, float | Tensor]:
        return dict(self.weights)

"""Learning through learning: a player is judged by what its influence does to another player's next step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from embodkd.core.attention import twice_differentiable
from embodkd.core.engine.objective import objective
from embodkd.core.recipe import Player
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source, shuffled
from embodkd.core.weights.weight import Controller


class Unroll:
    """One virtual step of plain gradient descent by `inner`, seen by the outer player on validation data.

    theta' = theta - rate * d(inner loss)/d(theta), kept differentiable; the outer player's terms are called with a
    batch of `validation` and the signals that inner's model gives there with theta'. The outer player's parameters act
    through inner's terms or weights, which must not detach them; inner's own updates do not reach them, since every
    backward pass moves its own player's parameters only. Buffers (running statistics) stay as they are.

    rate: of the virtual step, whatever inner's optimiser is. The validation batches run through `validation` in a
    random order that depends on `seed` and the update alone.
    """

    def __init__(self, inner: Player, validation: Source, *, rate: float, batch_size: int = 256, seed: int = 0) -> None:
        if rate <= 0:
            raise ValueError(f"unroll.rate: must be positive, got {rate}")
        if isinstance(inner.weights, Controller):
            raise ValueError(
                f"unroll: player {inner.name!r} is weighted by a controller, which a trial step would move"
            )
        self.inner, self.validation, self.rate = inner, validation, rate
        self.batch_size, self.seed = min(batch_size, validation.size()), seed

    def signals(self, batch: Signals, step: int, total: int) -> tuple[Signals, Signals]:
        """The validation batch of update `step` of `total`, and inner's signals on it after the virtual step."""
        after = virtual_step(self.inner, batch, step, total, self.rate)
        judged = self.validation.gather(self._index(step), step).to(next(iter(batch.values())).device)
        return judged, self.inner.train.signals(judged, after)

    def _index(self, step: int) -> np.ndarray:
        batches = self.validation.size() // self.batch_size
        order = shuffled(self.validation.size(), self.batch_size, self.seed, 1 + step // batches)
        return next(index for k, index in enumerate(order) if k == step % batches)


@twice_differentiable()
def virtual_step(inner: Player, batch: Signals, step: int, total: int, rate: float) -> dict[str, Tensor]:
    """inner's parameters by name after one step of plain gradient descent on `batch`, differentiable."""
    named = {name: p for name, p in inner.train.model.named_parameters() if p.requires_grad}
    s = inner.train.signals(batch, named)
    given = {}
    for name, answerer in inner.given.items():
        signals = answerer.signals(batch)
        learned_elsewhere = isinstance(answerer, Role) and answerer.trains and answerer.model is not inner.train.model
        given[name] = signals.map(Tensor.detach) if learned_elsewhere else signals
    _, loss = objective(inner, batch, s, given, step, total)
    slopes = torch.autograd.grad(loss / batch.items_count, list(named.values()), create_graph=True, allow_unused=True)
    moved = zip(named.items(), slopes, strict=True)
    return {name: value if slope is None else value - rate * slope for (name, value), slope in moved}

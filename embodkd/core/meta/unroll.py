"""Learning through learning: a player is judged by what its influence does to another player's next step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from embodkd.core.batch.sums import all_sum
from embodkd.core.batch.whole import looking_at, portion
from embodkd.core.engine.answers import in_order
from embodkd.core.engine.objective import objective
from embodkd.core.modules.attention import twice_differentiable
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

    On several processes the virtual step is that of the whole batch, and each of them judges it on the same validation
    batch. A batch in pieces has no such step, and is refused by the trainer.

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
        judged = self.validation.gather(self._index(step), step).to(batch.device)
        with looking_at(None):
            return judged, self.inner.train.signals(judged, after)

    def _index(self, step: int) -> np.ndarray:
        batches = self.validation.size() // self.batch_size
        order = shuffled(self.validation.size(), self.batch_size, self.seed, 1 + step // batches)
        return next(index for k, index in enumerate(order) if k == step % batches)


@twice_differentiable()
def virtual_step(inner: Player, batch: Signals, step: int, total: int, rate: float) -> dict[str, Tensor]:
    """inner's parameters by name after one step of plain gradient descent on `batch`, differentiable."""
    named = {name: p for name, p in inner.train.model.named_parameters() if p.requires_grad}
    batch = inner.at(batch, step, total)
    s, given = in_order(inner, batch, lambda shown: inner.train.signals(shown, named), partial(_answer, inner))
    _, loss = objective(inner, batch, s, given, step, total)
    here = portion()
    items = batch.items_count if here is None else here.items
    slopes: Sequence[Tensor | None] = torch.autograd.grad(
        loss / items, list(named.values()), create_graph=True, allow_unused=True
    )
    if here is not None and here.processes > 1:
        slopes = _shared(slopes)
    moved = zip(named.items(), slopes, strict=True)
    return {name: value if slope is None else value - rate * slope for (name, value), slope in moved}


def _answer(inner: Player, answerer: Any, batch: Signals) -> Signals:
    signals: Signals = answerer.signals(batch)
    learned_elsewhere = isinstance(answerer, Role) and answerer.trains and answerer.model is not inner.train.model
    return signals.map(Tensor.detach) if learned_elsewhere else signals


def _shared(slopes: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Their sums over all processes, differentiable, in one message."""
    found = [slope for slope in slopes if slope is not None]
    parts = iter(all_sum(torch.cat([slope.reshape(-1) for slope in found])).split([slope.numel() for slope in found]))
    return tuple(None if slope is None else next(parts).view_as(slope) for slope in slopes)

"""One update: forward passes, terms, weights, backward passes, optimiser steps. The trainer calls it in its loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.engine.objective import objective
from embodkd.core.recipe import Player
from embodkd.core.role import Role
from embodkd.core.signals import Signals


class BadLoss(FloatingPointError):
    """A loss or gradient that is not finite: `term` names it, `batch` is what caused it."""

    def __init__(self, player: str, term: str, batch: Signals) -> None:
        super().__init__(f"player {player!r}: {term} is not finite (NaN or infinite)")
        self.player, self.term, self.batch = player, term, batch


class Learner:
    """A player at work: its optimiser, parameters and weights resolved once per stage."""

    def __init__(self, player: Player, accelerator: Any, total: int, compiled: bool = False) -> None:
        self.player, self.total = player, total
        self._accelerator = accelerator
        device = accelerator.device
        for module in player.learning_modules():
            module.to(device)
        for answerer in player.given.values():
            if isinstance(answerer, Role):
                answerer.model.to(device)
        self.parameters = player.parameters()
        if not self.parameters:
            raise ValueError(f"player {player.name!r} has no parameters that require a gradient: nothing to train")
        if accelerator.num_processes > 1 and player.train.runner is player.train.model:
            player.train.runner = accelerator.prepare_model(player.train.model)
        for role in player.given.values():
            if isinstance(role, Role) and role.trains and role.model is player.train.model:
                role.runner = player.train.runner
        if compiled:
            for role in (player.train, *player.given.values()):
                if isinstance(role, Role):
                    role.compile()
        self.optimiser = player.optimiser.build(self.parameters)
        # accelerate's wrapper serves the loss scaler of fp16 only, and costs 0.3 ms per update.
        scaled = accelerator.scaler is not None
        self._stepper = accelerator.prepare_optimizer(self.optimiser) if scaled else self.optimiser
        self._rate = player.optimiser.rate()
        self._averages = [r for r in player.given.values() if isinstance(r, Role) and r.part == "ema"]

    def start(self, step: int) -> None:
        """Set the learning rate of update `step` and forget the former gradient."""
        rate = self._rate.at(step, self.total)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self._stepper.zero_grad()

    def backward(
        self, batch: Signals, cache: dict[int, Signals], step: int, share: float, *, sync: bool
    ) -> dict[str, Tensor]:
        """Add the gradient of `share` * (sum over the items of `batch` of the weighted terms).

        `cache` holds the signals of training roles that several players look at. Returns the sum of each term.
        """
        player, accelerator = self.player, self._accelerator
        with ExitStack() as stack:
            if not sync:
                stack.enter_context(accelerator.no_sync(player.train.runner))
            with accelerator.autocast():
                if player.through is not None:
                    judged, s = player.through.signals(batch, step, self.total)
                else:
                    judged, s = batch, _signals(player.train, batch, cache)
                own = player.train.model
                given = {name: _answer(answerer, judged, cache, own) for name, answerer in player.given.items()}
            sums, loss = objective(player, judged, s, given, step, self.total)
            # the validation batch of a meta player need not have the size of the batch that it came with
            share = share * batch.items_count / judged.items_count
            if not torch.isfinite(loss):
                raise BadLoss(player.name, _culprit(sums), batch)
            scale = -share if player.ascent else share
            # inputs=: another player's parameters, or a fixed critic's, must not collect this gradient.
            accelerator.backward(loss * scale, inputs=self.parameters)
        return sums

    def clip(self, batch: Signals) -> Tensor | None:
        """Clip the gradient to the player's limit and return its norm; None where there is no limit."""
        limit = self.player.optimiser.max_grad_norm
        if limit is None:
            return None
        norm = self._accelerator.clip_grad_norm_(self.parameters, limit)
        # With a loss scaler an infinite gradient is routine: the scaler skips that step.
        if self._accelerator.scaler is None and not torch.isfinite(norm):
            raise BadLoss(self.player.name, "the gradient", batch)
        return norm

    def step(self) -> None:
        """Move the parameters, then the running averages that follow them."""
        self._stepper.step()
        for role in self._averages:
            role.follow_step()


def update(
    learners: Sequence[Learner], micro_batches: Sequence[Signals], step: int, items: int, processes: int
) -> dict[str, Tensor]:
    """Let `learners` play once, all looking at the same weights; returns means to log.

    The batch comes in pieces; each item counts 1/items whatever the pieces are, so cutting a batch differently does
    not change the update. Raises BadLoss before any parameter has moved.
    """
    for learner in learners:
        learner.start(step)
    report: dict[str, Tensor] = {}
    for k, batch in enumerate(micro_batches):
        cache: dict[int, Signals] = {}
        for learner in learners:
            last = k + 1 == len(micro_batches)
            sums = learner.backward(batch, cache, step, processes / items, sync=last)
            for name, value in sums.items():
                key = f"{learner.player.name}/{name}"
                report[key] = report.get(key, 0.0) + value * (processes / items)
    for learner in learners:
        norm = learner.clip(micro_batches[-1])
        if norm is not None:
            report[f"{learner.player.name}/grad_norm"] = norm
    for learner in learners:
        learner.step()
    return report


def _signals(role: Role, batch: Signals, cache: dict[int, Signals]) -> Signals:
    """One forward pass per training role and batch, however many players look at it."""
    if id(role) not in cache:
        cache[id(role)] = role.signals(batch)
    return cache[id(role)]


def _answer(answerer: Any, batch: Signals, cache: dict[int, Signals], own: nn.Module) -> Signals:
    if isinstance(answerer, Role) and answerer.trains:
        signals = _signals(answerer, batch, cache)
        return signals if answerer.model is own else signals.map(torch.Tensor.detach)
    return answerer.signals(batch)


def _culprit(sums: Mapping[str, Tensor]) -> str:
    bad = [repr(name) for name, value in sums.items() if not torch.isfinite(value)]
    return f"term {', '.join(bad)}" if bad else "a weight"

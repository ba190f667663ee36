"""One update: forward passes, terms, weights, backward passes, optimiser steps. The trainer calls it in its loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from operator import is_

import torch
from torch import Tensor, nn

from embodkd.core.batch.draws import Replay
from embodkd.core.batch.layers import statistics_layers, whole_layers
from embodkd.core.batch.pieces import Piece, whole_batch
from embodkd.core.batch.sums import all_sum, start_alike, sum_gradients
from embodkd.core.batch.whole import looking_at
from embodkd.core.engine.answers import Answered, in_order
from embodkd.core.engine.bad_loss import BadLoss, culprit
from embodkd.core.engine.layout import channels_last
from embodkd.core.engine.moments import carried, give
from embodkd.core.engine.objective import mass_shares, objective
from embodkd.core.engine.shards import clip, kept_aside, read_aside
from embodkd.core.engine.state import Moments, note_places
from embodkd.core.engine.unread import Unread
from embodkd.core.precision import Precision
from embodkd.core.recipe import Answers, Player
from embodkd.core.role import Role, roles_of
from embodkd.core.sharded import is_sharded
from embodkd.core.signals import Signals
from embodkd.core.weights.weight import Controller, Factors

# (place of the player, term); the term "" is the player's whole weighted loss
Key = tuple[int, str]


class Learner:
    """A player at work: its optimiser, parameters and weights resolved once per stage.

    rate: the learning rate of the update at hand, before what groups of parameters make of it. moments: what an earlier
    stage's optimiser remembers of them. unread: where losses wait to be read; None reads each at once.
    """

    def __init__(
        self,
        player: Player,
        device: torch.device,
        precision: Precision,
        total: int,
        *,
        processes: int = 1,
        compiled: bool = False,
        moments: Moments | None = None,
        unread: Unread | None = None,
    ) -> None:
        self.player, self.total, self.processes, self._precision = player, total, processes, precision
        self.unread = unread
        self._device = device
        roles = [role for answerer in (player.train, *player.given.values()) for role in roles_of(answerer)]
        self.modules = list(dict.fromkeys([*player.learning_modules(), *(role.model for role in roles)]))
        for module in self.modules:
            module.to(device=device, dtype=precision.dtype)
        if processes > 1:
            start_alike(self.modules)
        if compiled:
            for role in roles:
                role.compile()
        self.rate, self._curve = 0.0, player.optimiser.rate()
        self._build(moments or {})
        self._averages = [role for role in roles if role.part == "ema"]
        self._gathered = list(dict.fromkeys(role.within for role in roles if role.within is not None))

    def _build(self, moments: Moments) -> None:
        player, named = self.player, self.player.named_parameters()
        if not named:
            raise ValueError(f"player {player.name!r} has no parameters that require a gradient: nothing to train")
        self.parameters = list(named.values())
        bundles = player.optimiser.bundles(named, player.named_parameters(fixed=True))
        self._bundles = [part for bundle in bundles for part in bundle.by_kind(named)]
        self.optimiser = player.optimiser.build(named, self._bundles)
        note_places(self.optimiser, bundles, self._bundles)
        give(self.optimiser, carried(moments, self.parameters))
        self._parts = [p for p in self.parameters if is_sharded(p)]
        # while nothing is gathered
        around = {p for module in self.modules for p in module.parameters() if p.requires_grad}
        self._others = list(around - set(self.parameters)) if self._parts else []

    def look_again(self) -> bool:
        """After a step that may have changed modules: whether other parameters learn now.

        Then the optimiser is built anew; those that stayed, and rows that were regrown, keep their moments.
        """
        now = self.player.parameters()
        if len(now) == len(self.parameters) and all(map(is_, now, self.parameters)):
            return False
        for module in self.modules:
            module.to(device=self._device, dtype=self._precision.dtype)
        self._build(self.optimiser.state)
        return True

    def statistics(self) -> list[str]:
        """The layers, by name, whose statistics over the batch this player's passes take."""
        modules = {name: helper for name, helper in self.player.helpers.items()}
        for name, answerer in {"": self.player.train, **self.player.given}.items():
            for role in roles_of(answerer):
                if role.trains and role.mode == "train":
                    modules[name] = role.model
        return [f"{at}.{name}".strip(".") for at, module in modules.items() for name, _ in statistics_layers(module)]

    def start(self, step: int) -> None:
        """Set the learning rates of update `step` and forget the former gradient."""
        self.rate = self._curve.at(step, self.total)
        for group, bundle in zip(self.optimiser.param_groups, self._bundles, strict=True):
            group["lr"] = self.rate * bundle.factor(step, self.total)
        self.optimiser.zero_grad()

    def forward(
        self,
        batch: Signals,
        memory: Answered,
        step: int,
        factors: Factors | None = None,
        shares: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The sum over the items of `batch` of each term, and of all of them weighted.

        `memory` holds what several players ask. factors: what a controller says, if that is known already; shares: of
        the masses, see `objective.mass_shares`.
        """
        player = self.player
        batch = player.at(batch, step, self.total)
        with ExitStack() as stack:
            with self._precision.autocast():
                if player.through is not None:
                    judged, after = player.through.signals(batch, step, self.total)
                    judged = player.at(judged, step, self.total)
                    # every process judges the whole validation batch
                    stack.enter_context(looking_at(None))
                    s, given = in_order(player, judged, lambda _: after, partial(self._ask, memory))
                else:
                    judged = batch
                    s, given = in_order(player, batch, partial(memory.ask, player.train), partial(self._ask, memory))
            sums, loss = objective(player, judged, s, given, step, self.total, factors, shares)
        if judged.items_count == batch.items_count:
            return sums, loss
        # a validation batch counts as much as the batch that it came with
        share = batch.items_count / judged.items_count
        return {name: value * share for name, value in sums.items()}, loss * share

    def _ask(self, memory: Answered, answerer: Answers, batch: Signals) -> Signals:
        signals = memory.ask(answerer, batch)
        elsewhere = isinstance(answerer, Role) and answerer.trains and answerer.model is not self.player.train.model
        return signals.map(Tensor.detach) if elsewhere else signals

    def backward(
        self,
        piece: Piece,
        memory: Answered,
        step: int,
        share: float,
        factors: Factors | None,
        shares: Mapping[str, Tensor] | None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Add the gradient of `share` * (sum over the items of the piece of the weighted terms).

        Returns the sum of each term and of the weighted ones.
        """
        sums, loss = self.forward(piece.batch, memory, step, factors, shares)
        if self.unread is None and self.processes == 1 and not torch.isfinite(loss):
            raise BadLoss(self.player, culprit(sums), piece.batch)
        scaled = self._precision.scaled(loss * (-share if self.player.ascent else share))
        # Another player's parameters, or a fixed critic's, must not collect this gradient.
        if not self._parts:
            scaled.backward(inputs=self.parameters)
        elif is_sharded(scaled):
            raise read_aside()
        else:
            # Gradients come to what a pass gathered, which is no parameter of anybody's, and from there to the parts.
            with kept_aside(self._others):
                scaled.backward()
            if all(p.grad is None for p in self._parts):
                raise read_aside()  # of weights alone, still gathered: nothing went through the model
        return sums, loss.detach()

    def clip(self, batch: Signals) -> Tensor | None:
        """Clip the gradient to the player's limit and return its norm; None where there is no limit."""
        limit = self.player.optimiser.max_grad_norm
        if limit is None:
            return None
        self._precision.unscale(self.optimiser)
        clipped = clip if self._parts else nn.utils.clip_grad_norm_
        norm = clipped(self.parameters, limit)
        # With a loss scaler an infinite gradient is routine: the scaler skips that step.
        if self.unread is None and self._precision.scaler is None and not torch.isfinite(norm):
            raise BadLoss(self.player, Unread.GRADIENT, batch)
        return norm

    def step(self) -> None:
        """Move the parameters, then the running averages that follow them."""
        for within in self._gathered:
            within.rest()
        if self.unread is not None:
            self.optimiser.found_inf = self.unread.stopped  # type: ignore[attr-defined] # fused ones look at it
        self._precision.step(self.optimiser)
        for role in self._averages:
            role.follow_step()


def look_again(learners: Sequence[Learner]) -> bool:
    """Whether a step has left any of them other parameters; these lie then as they would at the start of a stage."""
    channels_last(module for learner in learners for module in learner.modules)
    return any([learner.look_again() for learner in learners])


def smallest_batch(learners: Sequence[Learner], processes: int, pieces: int) -> int:
    """How many items a batch needs for these players; ValueError for a player that cannot learn from a batch in pieces.

    One item has no spread for a layer that takes statistics over the batch, and each process needs an item.
    """
    layers = [(learner.player.name, layer) for learner in learners for layer in learner.statistics()]
    if pieces > 1 and layers:
        name, layer = layers[0]
        raise ValueError(
            f"trainer.accumulate={pieces}: layer {layer!r} of player {name!r} takes its statistics over the whole "
            "batch, not over a piece of it: set trainer.accumulate=1, or train a model without batch norm"
        )
    for learner in learners if pieces > 1 else ():
        if learner.player.through is not None:
            raise ValueError(
                f"trainer.accumulate={pieces}: player {learner.player.name!r} learns through another one's step on "
                "the whole batch: set trainer.accumulate=1"
            )
    return max(processes, 2 if layers else 1)


def update(
    learners: Sequence[Learner],
    pieces: Sequence[Piece],
    step: int,
    items: int,
    memories: Sequence[Answered] | None = None,
) -> dict[str, Tensor]:
    """Let `learners` play once, all looking at the same weights; returns means over the batch to log.

    memories: of each piece, where other players look at the same batch too.

    The batch of `items` items comes in pieces, and several processes may hold pieces of it; each item counts 1/items
    wherever it lies, and every piece repeats the same draws, so cutting a batch differently does not change the update.
    Raises BadLoss, in all processes alike, before any parameter has moved; with `Unread` learners that does.
    """
    for learner in learners:
        learner.start(step)
    replay = Replay(pieces[0].batch.device) if len(pieces) > 1 else None
    shares = _mass_shares(learners, pieces, items)
    controllers = {} if replay is None else _controllers(learners)
    factors = {} if replay is None else _weights_ahead(learners, controllers, pieces, step, items, replay, shares)
    totals: dict[Key, Tensor] = {}
    for number, piece in enumerate(pieces):
        if replay is not None:
            replay.again()
        memory = Answered() if memories is None else memories[number]
        memory.turn()
        with whole_layers(piece.portion):
            for k, learner in enumerate(learners):
                _add(totals, k, *learner.backward(piece, memory, step, 1.0 / items, factors.get(k), shares.get(k)))
    if learners[0].processes > 1:
        totals = _shared(learners, pieces, totals)
    means = {key: value / items for key, value in totals.items()}
    for k, controller in controllers.items():
        controller(_of(k, means))
    report = {f"{learners[k].player.name}/{term}": value for (k, term), value in means.items() if term}
    for k, learner in enumerate(learners):
        norm = learner.clip(pieces[-1].batch)
        if norm is not None:
            report[f"{learner.player.name}/grad_norm"] = totals[k, Unread.GRADIENT] = norm
    if (unread := learners[0].unread) is not None:
        unread.keep([learner.player for learner in learners], totals)
    for learner in learners:
        learner.step()
    return report


def _mass_shares(learners: Sequence[Learner], pieces: Sequence[Piece], items: int) -> dict[int, dict[str, Tensor]]:
    """Of each player that has masses."""
    batches = [piece.batch for piece in pieces]
    return {
        k: mass_shares(learner.player, batches, items, learner.processes)
        for k, learner in enumerate(learners)
        if learner.player.mass
    }


def _controllers(learners: Sequence[Learner]) -> dict[int, Controller]:
    weights = [learner.player.weights for learner in learners]
    return {k: value for k, value in enumerate(weights) if isinstance(value, Controller)}


def _weights_ahead(
    learners: Sequence[Learner],
    controllers: Mapping[int, Controller],
    pieces: Sequence[Piece],
    step: int,
    items: int,
    replay: Replay,
    shares: Mapping[int, Mapping[str, Tensor]],
) -> dict[int, Factors]:
    """What the controllers will say of a batch in pieces: their steps wait until all pieces have been seen."""
    ready = {k: known for k, controller in controllers.items() if (known := controller.known()) is not None}
    if len(ready) == len(controllers):
        return ready
    totals: dict[Key, Tensor] = {}
    for piece in pieces:
        replay.again()
        memory = Answered()
        with torch.no_grad(), whole_layers(piece.portion):
            for k, learner in enumerate(learners):
                # Any weights do: the terms are summed without.
                _add(totals, k, *learner.forward(piece.batch, memory, step, {}, shares.get(k)))
    if learners[0].processes > 1:
        totals = dict(zip(totals, all_sum(_stacked(totals)), strict=True))
    for k, controller in controllers.items():
        if k not in ready:
            with controller.trial():
                ready[k] = controller({term: value / items for term, value in _of(k, totals).items()})
    return ready


def _add(totals: dict[Key, Tensor], player: int, sums: Mapping[str, Tensor], loss: Tensor) -> None:
    for term, value in {**sums, "": loss}.items():
        key = (player, term)
        totals[key] = totals[key] + value if key in totals else value


def _of(player: int, totals: Mapping[Key, Tensor]) -> dict[str, Tensor]:
    return {term: value for (k, term), value in totals.items() if k == player and term}


def _stacked(totals: Mapping[Key, Tensor]) -> Tensor:
    return torch.stack([value.double() for value in totals.values()])


def _shared(learners: Sequence[Learner], pieces: Sequence[Piece], totals: Mapping[Key, Tensor]) -> dict[Key, Tensor]:
    """Gradients and totals summed over all processes; BadLoss, in each of them, where one's loss is not finite."""
    numbers_K = sum_gradients((p for learner in learners for p in learner.parameters), _stacked(totals))
    shared = dict(zip(totals, numbers_K, strict=True))
    for k, learner in enumerate(learners):
        if not torch.isfinite(shared[k, ""]):
            raise BadLoss(learner.player, culprit(_of(k, shared)), whole_batch(pieces))
    return shared

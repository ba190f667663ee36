"""What a player minimises on a batch: its terms, each weighted item by item, summed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from embodkd.core.batch.sums import all_sum
from embodkd.core.batch.whole import portion
from embodkd.core.config.registry import near
from embodkd.core.recipe import Player
from embodkd.core.signals import Signals
from embodkd.core.weights.weight import Controller, Factors, weigh


def objective(
    player: Player,
    batch: Signals,
    s: Signals,
    given: Mapping[str, Signals],
    step: int,
    total: int,
    factors: Factors | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """The sum over items of each term, unweighted and detached, and the weighted sum of all, at update `step`.

    factors: what the player's controller says, if it was asked before; otherwise it is asked now.
    ValueError for a term without one value per item, for weights of unknown terms, and when there is no term at all.
    """
    batch = player.at(batch, step, total)
    terms = dict(player.terms(batch, s, **given))
    if not terms:
        raise ValueError(f"player {player.name!r}: its terms are empty, there is nothing to learn from")
    sums: dict[str, Tensor] = {}
    for name, values_N in terms.items():
        if values_N.shape != (batch.items_count,):
            raise ValueError(
                f"term {name!r} of player {player.name!r} gives shape {tuple(values_N.shape)}; "
                f"one value per item is needed: ({batch.items_count},)"
            )
        sums[name] = values_N.detach().sum()
    if isinstance(player.weights, Controller):
        factors = player.weights(_means(sums, batch.items_count)) if factors is None else factors
        _check(player, factors, sums)
        parts = [values_N.sum() * factors.get(name, 1.0) for name, values_N in terms.items()]
    else:
        weights = player.ready_weights()
        _check(player, weights, sums)
        parts = []
        for name, values_N in terms.items():
            if name in weights:
                values_N = weigh(name, values_N, weights[name], step, total, batch, s, given)
            parts.append(values_N.sum())
    return sums, torch.stack(parts).sum() if len(parts) > 1 else parts[0]


def _means(sums: Mapping[str, Tensor], items: int) -> dict[str, Tensor]:
    """Of the terms, over the whole batch, whoever holds it."""
    here = portion()
    if here is None or here.processes == 1:
        return {name: value / items for name, value in sums.items()}
    totals_K = all_sum(torch.stack(list(sums.values())))
    return {name: total / here.items for name, total in zip(sums, totals_K, strict=True)}


def _check(player: Player, weights: Mapping[str, object], terms: Mapping[str, Tensor]) -> None:
    for name in weights:
        if name not in terms:
            raise ValueError(f"weights: player {player.name!r} has no term {name!r}: {near(name, terms)}")

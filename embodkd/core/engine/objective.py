"""What a player minimises on a batch: its terms, each weighted item by item, summed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
    shares: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """The sum over items of each term, unweighted and detached, and the weighted sum of all, at update `step`.

    factors: what the player's controller says, if it was asked before; otherwise it is asked now. shares: see
    `mass_shares`; None where the whole batch is here.
    ValueError for a term of another shape than it should have, for weights, a mass or a log of unknown terms, and when
    there is nothing to learn from.
    """
    batch = player.at(batch, step, total)
    terms = dict(player.terms(batch, s, **given))
    for what, names in (("mass", player.mass), ("logged", player.logged)):
        _check(player, names, terms, what)
    if not terms.keys() - set(player.logged):
        raise ValueError(f"player {player.name!r}: its terms are empty, there is nothing to learn from")
    if player.mass and shares is None:
        here = portion()
        items, processes = (batch.items_count, 1) if here is None else (here.items, here.processes)
        shares = mass_shares(player, [batch], items, processes)
    sums: dict[str, Tensor] = {}
    for name, values_N in terms.items():
        if name in player.mass:
            assert shares is not None
            terms[name] = values_N = _over_mass(player, name, values_N, batch) * shares[name]
        if values_N.shape != (batch.items_count,):
            raise ValueError(
                f"term {name!r} of player {player.name!r} gives shape {tuple(values_N.shape)}; "
                f"one value per item is needed: ({batch.items_count},)"
            )
        sums[name] = values_N.detach().sum()
    terms = {name: values_N for name, values_N in terms.items() if name not in player.logged}
    if isinstance(player.weights, Controller):
        factors = player.weights(_means(sums, batch.items_count)) if factors is None else factors
        _check(player, factors, sums)
        parts = [values_N.sum() * factors.get(name, 1.0) for name, values_N in terms.items()]
    else:
        weights = player.ready_weights()
        _check(player, weights, terms)
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


def mass_shares(player: Player, batches: Sequence[Signals], items: int, processes: int) -> dict[str, Tensor]:
    """Term -> items / mass of the whole batch of `items` items: `batches` here, and those of the other processes.

    A sum over the mass times this, divided by the items like every other term, is the mean over the mass: 0 where
    there is none. ValueError for a field that the batch does not have.
    """
    masses = []
    for term, name in player.mass.items():
        if name not in batches[0]:
            raise ValueError(
                f"mass.{term}: the batch of player {player.name!r} has no {name!r}: {near(name, batches[0])}"
            )
        masses.append(torch.stack([batch[name].double().sum() for batch in batches]).sum())
    total_K = torch.stack(masses)
    total_K = all_sum(total_K) if processes > 1 else total_K
    # A number for each, so that a term keeps its own precision.
    share_K = torch.where(total_K > 0, items / total_K, 0.0)
    return dict(zip(player.mass, share_K, strict=True))


def _over_mass(player: Player, name: str, values: Tensor, batch: Signals) -> Tensor:
    """The sum of a term over the mass of each item, (N,)."""
    mass = batch[player.mass[name]]
    if values.shape != mass.shape:
        raise ValueError(
            f"term {name!r} of player {player.name!r} gives shape {tuple(values.shape)}; its mass, the field "
            f"{player.mass[name]!r}, has {tuple(mass.shape)}: one value for each is needed"
        )
    # Padding may hold anything, even NaN.
    counted = torch.where(mass > 0, values, 0.0) * mass
    return counted.flatten(1).sum(1) if counted.ndim > 1 else counted


def _check(player: Player, names: Iterable[str], terms: Mapping[str, Tensor], what: str = "weights") -> None:
    for name in names:
        if name not in terms:
            raise ValueError(f"{what}: player {player.name!r} has no term {name!r}: {near(name, terms)}")

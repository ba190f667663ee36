"""Whether a recipe is long enough for the curves in it: a warm-up that outlasts the training never ends."""

from __future__ import annotations

from collections.abc import Iterator

from embodkd.core.recipe import Player, Recipe, Stage
from embodkd.core.weights.schedule import Schedule


def endless_warmups(recipe: Recipe) -> Iterator[str]:
    """A line for each curve whose warm-up is longer than its stage. It runs, as a short trial of a long training does;
    what comes out was not trained at the rates that were asked for."""
    for stage in recipe.stages:
        if not isinstance(stage, Stage):
            continue
        total = stage.updates()
        for player in stage.players:
            for name, curve in _curves(player):
                if curve.warmup > total:
                    yield (
                        f"beware: {name} of {player.name} climbs for {curve.warmup} updates (warmup), and the stage "
                        f"{stage.name} has {total}: it gets to {total / curve.warmup:.1%} of its size"
                    )


def _curves(player: Player) -> Iterator[tuple[str, Schedule]]:
    yield "the learning rate", player.optimiser.rate()
    for group in player.optimiser.groups:
        yield f"the rate of {group.pattern}", group.curve()
    for name, weight in player.ready_weights().items():
        if isinstance(weight, Schedule):
            yield f"the weight of {name}", weight
    for name, curve in player.curves().items():
        yield f"the number {name}", curve

"""Which recipes cannot have their models shared out among processes, and what to do instead."""

from __future__ import annotations

from typing import get_args

from embodkd.core.engine.shards import Shard
from embodkd.core.recipe import Recipe, Stage


def check_asked(shard: str | None, precision: str) -> None:
    """ValueError for another word than there is, or a precision that does not go with it."""
    if shard not in (None, *get_args(Shard)):
        raise ValueError(f"trainer.shard: {shard!r} is not one of {', '.join(get_args(Shard))}, or null")
    if shard is not None and precision == "fp16":
        raise ValueError("trainer.shard: fp16's loss scaler looks at whole gradients: set trainer.precision=bf16")


def check_shardable(recipe: Recipe, which: Shard) -> None:
    """ValueError, naming what stands in the way, for a recipe whose models cannot lie in parts."""
    said = f"trainer.shard={which}: "
    for stage in recipe.stages:
        if not isinstance(stage, Stage):
            raise ValueError(f"{said}{_named(stage)} is a step of the first process alone, {_STEP}")
        for every in stage.every:
            raise ValueError(
                f"{said}stage {stage.name!r} has a step of the first process alone, {_named(every.step)}, {_STEP}"
            )
        if stage.source.refresh != "never":
            raise ValueError(
                f"{said}stage {stage.name!r} learns from what models do in between (refresh={stage.source.refresh!r}), "
                "and processes that do different things cannot gather a model together: set trainer.shard=null, or "
                "learn from stored data"
            )
        for player in stage.players:
            if player.through is not None:
                raise ValueError(
                    f"{said}player {player.name!r} learns through another one's step, which runs a model with other "
                    "parameters than its own: set trainer.shard=null"
                )


_STEP = (
    "which holds a part of the models only: set trainer.shard=null, or take the step in a command of its own (a bank "
    "that is filled, a fine-tuning that follows)"
)


def _named(step: object) -> str:
    return getattr(step, "__name__", type(step).__name__)

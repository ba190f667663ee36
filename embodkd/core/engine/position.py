"""Where a training is, to the update, and which batches come next from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from embodkd.core.config.ranges import Whole
from embodkd.core.recipe import Stage


@dataclass
class Position:
    """The next update to do. Everything random derives from this and the seed, or is checkpointed.

    done: updates made in this epoch; the other counts are of whole epochs, rounds and stages.
    """

    stage: Whole = 0
    trained_stages: Whole = 0
    round: Whole = 0
    epoch: Whole = 0
    update: Whole = 0
    refills: Whole = 0
    updates_before: Whole = 0
    done: Whole = 0

    @property
    def begins_round(self) -> bool:
        """Whether nothing of this round is done."""
        return self.epoch == 0 and self.done == 0


def batches(
    stage: Stage, at: Position, seed: int, least: int, refill: Callable[[], object]
) -> Iterator[tuple[np.ndarray, int]]:
    """What is left of this epoch's batches: indices, and which pass over the data since the stage began they are of.

    The order derives from (seed, stage, round, epoch). Only stages that train count: filling a bank first must not
    change the order of what follows. `refill` is called before each batch of a source that asks for it. least: see
    `shuffled`.
    """
    key = (seed, at.trained_stages, at.round, at.epoch)
    if stage.updates_per_round is None:
        whole = stage.source.order(stage.batch_size, *key, least=least)
        yield from zip(islice(whole, at.done, None), repeat(at.round * stage.epochs + at.epoch), strict=False)
        return
    order: Iterator[np.ndarray] = iter(())
    done, before, passes = at.done, at.round and at.round * _passes(stage), 0
    for k in range(stage.updates_per_round):
        if stage.source.refresh == "step":
            if k < done:
                continue  # those items are gone
            refill()
            order = iter(())
        index = next(order, None)
        if index is None:
            order = stage.source.order(stage.batch_size, *key, k, least=least)
            index = next(order)
            passes += 1
        if k >= done:
            yield index, before + passes - 1


def _passes(stage: Stage) -> int:
    """How many passes over the data a round of so many updates begins."""
    assert stage.updates_per_round is not None
    return -(-stage.updates_per_round // max(1, -(-stage.source.size() // stage.batch_size)))


def source_folder(run: Path | None, stage: int) -> Path:
    """Where a stage's source keeps what it must have to go on."""
    if run is None:
        raise ValueError("without a run folder there is nothing to resume from")
    return run / "source" / f"stage_{stage}"

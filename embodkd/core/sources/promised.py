"""A source whose items are made by a step of the recipe, after the recipe is written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source


class Promised(Source):
    """Empty until `keep` gives it what it shows from then on, which is not refilled.

    How many items there will be is not known before: a stage on it needs updates_per_round.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._source: Source | None = None

    def keep(self, source: Source) -> None:
        """Show `source`."""
        self._source = source

    @property
    def source(self) -> Source:
        """What it shows; ValueError as long as that is nothing."""
        if self._source is None:
            raise ValueError(f"{self._name}: is made by a step that was not taken yet; put that step before the stage")
        return self._source

    def size(self) -> int:
        """How many items there are."""
        return self.source.size()

    def planned_size(self, refill: int) -> int:
        """Of what it shows; ValueError before it is there, since nobody knows."""
        if self._source is None:
            raise ValueError(
                f"{self._name}: how many items there will be is known only when they are made: set budget.updates (or "
                "updates_per_round of the stage)"
            )
        return self._source.planned_size(refill)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index`."""
        return self.source.gather(index, epoch)

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """One pass over them."""
        return self.source.order(batch_size, *key, least=least)

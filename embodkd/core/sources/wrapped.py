"""A source around another one: everything is the inner one's, but for what a subclass says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source


class Wrapped(Source):
    """The items of `source`, refilled and kept when it is."""

    def __init__(self, source: Source) -> None:
        self.source, self.refresh = source, source.refresh

    def size(self) -> int:
        """How many items the source has now."""
        return self.source.size()

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items of the source."""
        return self.source.gather(index, epoch)

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """The source's own."""
        return self.source.order(batch_size, *key, least=least)

    def planned_size(self, refill: int) -> int:
        """What the source says."""
        return self.source.planned_size(refill)

    def refill(self, refill: int) -> dict[str, float]:
        """Refill the source."""
        return self.source.refill(refill)

    def save(self, folder: Path) -> None:
        """Write what the source needs."""
        self.source.save(folder)

    def tidy(self, folder: Path) -> None:
        """Remove what the source does not need."""
        self.source.tidy(folder)

    def restore(self, folder: Path, refills: int) -> None:
        """Take up the source's state."""
        self.source.restore(folder, refills)

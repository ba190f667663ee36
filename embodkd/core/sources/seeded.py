"""A source whose items carry a seed for each pass, from which a view rebuilds the same augmentation at any time."""

from __future__ import annotations

import numpy as np
import torch

from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source, item_seeds
from embodkd.core.sources.wrapped import Wrapped


class Seeded(Wrapped):
    """The items of `source`, each with a number `field` (N,) int32 in 0..2^31-1.

    The number depends on (seed, epoch, sample id) only, as those of `TensorData(replay=...)` do; but here the source
    may be any, and four bytes hold it.
    """

    def __init__(self, source: Source, field: str = "augment_seed", *, seed: int = 0) -> None:
        super().__init__(source)
        self.field, self.seed = field, seed

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index` and their seeds in this pass."""
        batch = self.source.gather(index, epoch)
        seeds_N = item_seeds(self.seed, epoch, batch["sample_id"].numpy()) >> 31
        return batch.merge(**{self.field: torch.from_numpy(seeds_N.astype(np.int32))})

"""Two sources as one: what is labelled, and a pool whose labels are hidden."""

from __future__ import annotations

import numpy as np
import torch

from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source, TensorData


class Joined(Source):
    """The items of `labelled` and after them those of `pool`, whose label is -1: `input`, `label` and `sample_id`.

    Each side is asked as it is, so what it makes of its images in each pass (crops, flips) stays.
    """

    def __init__(self, labelled: TensorData, pool: TensorData) -> None:
        self.labelled, self.pool = labelled, pool

    def size(self) -> int:
        """Of both."""
        return self.labelled.size() + self.pool.size()

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index`, in its order."""
        own = self.labelled.size()
        inside, outside = np.flatnonzero(index < own), np.flatnonzero(index >= own)
        first, second = self.labelled.gather(index[inside], epoch), self.pool.gather(index[outside] - own, epoch)
        second = second.merge(label=torch.full((len(outside),), -1))
        back = torch.from_numpy(np.argsort(np.concatenate([inside, outside])))
        return Signals({name: torch.cat([first[name], second[name]])[back] for name in ("input", "label", "sample_id")})

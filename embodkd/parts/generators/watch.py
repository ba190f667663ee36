"""A generator's distance from the data while it learns, as a curve and as what the curve comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from embodkd.core import Context, Splits, seeded
from embodkd.core.runs.files import write_json
from embodkd.core.runs.reading import read_json
from embodkd.parts.generators.frechet import embedded, embedding_of, frechet


class _Stored(TypedDict):
    updates: list[int]
    fd: list[float]


class FrechetWatch:
    """A step: the Fréchet distance between `samples` of `generator`, from the same noise each time, and the validation
    part. What was measured lies in the run's folder; what comes after the update at hand, of work about to be repeated,
    is forgotten.
    """

    def __init__(self, generator: Any, data: Splits, samples: int, seed: int) -> None:
        self._generator, self._data = generator, data
        with seeded(seed, 0x5EED):
            self._noise = torch.randn(samples, *data.shape)
            self._label_N = torch.randint(data.classes, (samples,))
        self.updates: list[int] = []
        self.curve: list[float] = []

    def __call__(self, context: Context) -> dict[str, float]:
        """Measure."""
        self._keep_to(context.update - 1)
        embedding = embedding_of(self._data)
        like = next(self._generator.parameters())
        samples = self._generator.generate(self._noise.to(like), self._label_N.to(like.device))
        real = embedded(embedding, self._data.validation.fields["input"])["embedding"]
        self.updates.append(context.update)
        self.curve.append(frechet(embedded(embedding, samples)["embedding"], real))
        if context.folder is not None:
            write_json(_file(context.folder), {"updates": self.updates, "fd": self.curve})
        return {"held_out/fd": self.curve[-1]}

    def restore(self, context: Context) -> None:
        """Read what was measured up to this update."""
        if context.folder is not None and _file(context.folder).exists():
            stored = read_json(_file(context.folder), _Stored)
            self.updates, self.curve = list(stored["updates"]), list(stored["fd"])
            self._keep_to(context.update)

    def verdict(self, context: Context) -> dict[str, float]:
        """A step after the stage; see `areas`."""
        return areas(self.updates, self.curve)

    def _keep_to(self, update: int) -> None:
        kept = sum(one <= update for one in self.updates)
        self.updates, self.curve = self.updates[:kept], self.curve[:kept]


def areas(updates: list[int], curve: list[float]) -> dict[str, float]:
    """fd_area: the mean of the curve over time, by trapezoids; fd_early: over its first third; fd_last: its end."""
    time, value = np.array(updates, float), np.array(curve)
    third = time[0] + (time[-1] - time[0]) / 3.0
    until = np.append(time[time < third], third)
    early = np.interp(until, time, value)
    return {"fd_area": _mean(time, value), "fd_early": _mean(until, early), "fd_last": float(value[-1])}


def _mean(time: np.ndarray, value: np.ndarray) -> float:
    return float(np.trapezoid(value, time) / (time[-1] - time[0])) if len(time) > 1 else float(value[0])


def _file(folder: Path) -> Path:
    return folder / "fd.json"

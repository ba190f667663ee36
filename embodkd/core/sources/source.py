"""Sources: where batches come from. Every batch carries the ids of its samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from embodkd.core.precision import as_default
from embodkd.core.signals import Signals

Refresh = Literal["never", "epoch", "step"]


class Source(ABC):
    """Items that can be gathered by index, and refilled.

    refresh says when the trainer calls `refill`: "never" (once, before the first round), "epoch" (before
    each round) or "step" (before each update).
    """

    REFRESH: ClassVar[tuple[str, ...]] = ("never", "epoch", "step")
    refresh: Refresh = "never"

    @abstractmethod
    def size(self) -> int:
        """How many items there are now."""

    @abstractmethod
    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index` (int64), on the CPU, with their ids as `sample_id`.

        `epoch` counts the passes over the data since the stage began, for augmentations that differ per pass.
        """

    def planned_size(self, refill: int) -> int:
        """How many items there will be after refill number `refill`: schedules need the total in advance."""
        return self.size()

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """One pass over all items as batches of indices, a function of `key` alone; see `shuffled`, which this is."""
        return shuffled(self.size(), batch_size, *key, least=least)

    def refill(self, refill: int) -> dict[str, float]:
        """Get new items; numbers worth logging come back. All randomness derives from (seed, refill)."""
        return {}

    def save(self, folder: Path) -> None:
        """Write what a resume needs and cannot derive; called before each checkpoint."""
        return None

    def tidy(self, folder: Path) -> None:
        """Remove from `folder` what no resume needs any more, or what is about to be written again.

        The first rank calls it after each checkpoint and after `restore`.
        """
        return None

    def restore(self, folder: Path, refills: int) -> None:
        """Take up the state after the first `refills` refills, from what `save` wrote; every rank only reads."""
        return None


class TensorData(Source):
    """A data set in memory: named tensors or arrays with the same number of rows.

    A field `sample_id` (N,) int64 is kept; without one, items are numbered from 0. With `replay="augment_seed"` each
    batch has that field: a number per item that depends on (seed, epoch, sample id) only, from which a view can
    rebuild the same augmentation at any time, in any order and batch size.
    """

    def __init__(self, fields: Mapping[str, Tensor | np.ndarray], *, replay: str | None = None, seed: int = 0) -> None:
        self._fields = {name: torch.as_tensor(value) for name, value in fields.items()}
        lengths = {name: len(value) for name, value in self._fields.items()}
        if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"a data set needs fields of one length, at least 1 row; got {lengths}")
        self._size = next(iter(lengths.values()))
        self._fields.setdefault("sample_id", torch.arange(self._size))
        ids = self._fields["sample_id"]
        if ids.dtype != torch.int64 or ids.ndim != 1:
            raise ValueError(f"sample_id must be int64 of shape (N,), got {ids.dtype} {tuple(ids.shape)}")
        self._replay, self._seed = replay, seed

    def size(self) -> int:
        """How many rows there are."""
        return self._size

    @property
    def fields(self) -> Mapping[str, Tensor]:
        """All rows of every field, `sample_id` included (read-only)."""
        return MappingProxyType(self._fields)

    def rows(self, index: np.ndarray) -> TensorData:
        """A data set of the rows at `index`."""
        rows = torch.from_numpy(np.asarray(index, np.int64))
        return TensorData({name: value[rows] for name, value in self._fields.items()})

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The rows at `index`; where torch's default type is float64, floats are."""
        rows = torch.from_numpy(index)
        batch = {name: as_default(value.index_select(0, rows)) for name, value in self._fields.items()}
        if self._replay is not None:
            batch[self._replay] = torch.from_numpy(item_seeds(self._seed, epoch, batch["sample_id"].numpy()))
        return Signals(batch)


def item_seeds(seed: int, epoch: int, sample_ids: np.ndarray) -> np.ndarray:
    """One int64 >= 0 per sample, a function of (seed, epoch, sample id) alone (SplitMix64)."""
    with np.errstate(over="ignore"):
        state = np.asarray(sample_ids).astype(np.uint64)
        for salt in (seed, epoch):
            state = state + np.uint64(salt % 2**64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(2)).astype(np.int64)


def shuffled(size: int, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
    """One pass over `size` items in random order, in batches of indices; the last one may be smaller.

    The order is a function of `key` alone, so a resumed run needs no generator state to repeat it. A last batch of
    fewer than `least` items takes what it lacks from the one before. ValueError where that one has not enough.
    """
    return _batches(np.random.default_rng(key).permutation(size), batch_size, least)


def bucketed(length_N: np.ndarray, batch_size: int, *key: int, pool: int, least: int = 1) -> Iterator[np.ndarray]:
    """`shuffled`, with items of like length in a batch, so that little of it is padding.

    Of the shuffled order each `pool` batches are sorted by length, and the batches come in random order, the one that
    may be smaller last.
    """
    size, generator = len(length_N), np.random.default_rng(key)
    order = generator.permutation(size)
    for start in range(0, size, pool * batch_size):
        part = order[start : start + pool * batch_size]
        part[:] = part[np.argsort(length_N[part], kind="stable")]
    whole = size // batch_size
    first = order[: whole * batch_size].reshape(whole, batch_size)
    order = np.concatenate([first[generator.permutation(whole)].ravel(), order[whole * batch_size :]])
    return _batches(order, batch_size, least)


def _batches(order: np.ndarray, batch_size: int, least: int) -> Iterator[np.ndarray]:
    size = len(order)
    starts = list(range(0, size, batch_size))
    last = size - starts[-1] if starts else size
    if last < least:
        spare = least - last
        if len(starts) < 2 or batch_size - spare < least:
            raise ValueError(
                f"{size} items in batches of {batch_size} leave one of {last}, and at least {least} are needed "
                "(2 for statistics over the batch, 1 for each process): choose a larger batch_size"
            )
        starts[-1] -= spare
    for start, stop in zip(starts, [*starts[1:], size], strict=True):
        yield order[start:stop]


def balanced_batch(data: TensorData, size: int, seed: int) -> Signals:
    """`size` random items whose classes are as equally many as the data allow, whatever the order of the data.

    Fields `label` and `sample_id` are read; all of `data` if it is smaller.
    """
    rows = np.random.default_rng((seed, 0xBA7C)).permutation(np.argsort(data.fields["sample_id"].numpy()))
    label_N = data.fields["label"].numpy()[rows]
    turn_N = np.empty(len(rows), np.int64)
    for label in np.unique(label_N):
        turn_N[label_N == label] = np.arange((label_N == label).sum())
    return data.gather(rows[np.argsort(turn_N, kind="stable")[:size]], 0)

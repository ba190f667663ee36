"""A mixture of sources: so much of each, whatever their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from embodkd.core.config.ranges import Count
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Refresh, Source


class Mixed(Source):
    """Items of several sources, by name; a pass has as many of each as its weight says.

    weights: shares of a pass, in any unit; without them a pass has every item of every source once. size: items of a
    pass, by default as many as all sources have. Of a source whose share is larger than it is, items come more than
    once in a pass; of one whose share is smaller, every pass takes up where the former ended, in an order that depends
    on (seed, source, which pass over that source it is) alone. That pass is the `epoch` which the source itself sees.

    A batch has the field `source` (N,) int64, the place of the item's source among `sources`, and `sample_id`, which is
    that of the source times their number plus that place, so that no two sources share one. A field that only some
    sources have is zeros for the others, beside `has_NAME` (N,) bool; ValueError for one that differs in type or shape,
    but for the length of the items of those in `padding`, which are filled up behind to the longest in the batch.
    Each source is refilled as its own `refresh` says; one of every step beside one of every epoch is refused.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        weights: Mapping[str, float] | None = None,
        *,
        size: Count | None = None,
        seed: int = 0,
        padding: Mapping[str, float] | None = None,
    ) -> None:
        if not sources:
            raise ValueError("a mixture needs at least one source")
        if weights is not None and set(weights) != set(sources):
            raise ValueError(f"weights: one for each of {', '.join(sources)}, got {', '.join(weights)}")
        if weights is not None and (min(weights.values()) < 0 or not sum(weights.values()) > 0):
            raise ValueError(f"weights: at least 0 and not all of them 0, got {dict(weights)}")
        if weights is None and size is not None:
            raise ValueError("size: without weights a pass has every item once; give weights too")
        found = {name: source.refresh for name, source in sources.items()}
        if {"step", "epoch"} <= set(found.values()):
            raise ValueError(f"a mixture is refilled every epoch or every step, not both; its sources are {found}")
        self.sources = dict(sources)
        self.refresh: Refresh = max(found.values(), key=Source.REFRESH.index)
        self._weights, self._size, self._seed, self._padding = weights, size, seed, dict(padding or {})
        self._likes: dict[str, Signals] = {}

    def size(self) -> int:
        """How many items a pass has."""
        return sum(self._counts([source.size() for source in self.sources.values()]))

    def planned_size(self, refill: int) -> int:
        """How many items a pass will have after refill number `refill`."""
        return sum(self._counts([s.planned_size(_latest(s, refill)) for s in self.sources.values()]))

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index`, wherever they come from."""
        sizes = [source.size() for source in self.sources.values()]
        counts = self._counts(sizes)
        ends = np.cumsum(counts)
        source_n = np.searchsorted(ends, index, side="right")
        parts: list[tuple[np.ndarray, Signals]] = []
        for k, source in enumerate(self.sources.values()):
            rows = np.flatnonzero(source_n == k)
            # so many of this source come before each, in this pass and in the former ones
            visit_n = index[rows] - (ends[k] - counts[k]) + epoch * counts[k]
            turn_n, place_n = np.divmod(visit_n, max(sizes[k], 1))
            for turn in np.unique(turn_n).tolist():
                now = turn_n == turn
                place = _order(self._seed, k, sizes[k], turn)[place_n[now]]
                parts.append((rows[now], source.gather(place, turn)))
        batch = self._joined([part for _, part in parts])
        back = torch.from_numpy(np.argsort(np.concatenate([rows for rows, _ in parts])))
        source_N = torch.from_numpy(source_n)
        ids_N = batch["sample_id"][back] * len(sizes) + source_N
        return batch.rows(back).merge(source=source_N, sample_id=ids_N)

    def refill(self, refill: int) -> dict[str, float]:
        """Refill those sources whose turn it is; what they say is named after them."""
        self._likes, said = {}, {}
        for name, source in self.sources.items():
            if refill == 0 or source.refresh != "never":
                said.update({f"{name}/{what}": value for what, value in source.refill(refill).items()})
        return said

    def save(self, folder: Path) -> None:
        """Each source has a folder of its own in it."""
        for name, source in self.sources.items():
            source.save(folder / name)

    def tidy(self, folder: Path) -> None:
        """See Source."""
        for name, source in self.sources.items():
            source.tidy(folder / name)

    def restore(self, folder: Path, refills: int) -> None:
        """See Source."""
        self._likes = {}
        for name, source in self.sources.items():
            source.restore(folder / name, _latest(source, refills - 1) + 1 if refills else 0)

    def _counts(self, sizes: list[int]) -> list[int]:
        """How many items of each source a pass has: the shares of the weights, rounded so that the sum is exact."""
        if self._weights is None:
            return sizes
        weight_K = np.array([self._weights[name] for name in self.sources], np.float64)
        total = sum(sizes) if self._size is None else self._size
        share_K = total * weight_K / weight_K.sum()
        count_K = np.floor(share_K).astype(int)
        count_K[np.argsort(count_K - share_K, kind="stable")[: total - count_K.sum()]] += 1
        return count_K.tolist()

    def _joined(self, parts: list[Signals]) -> Signals:
        """The parts, one below the other, with the fields of all sources."""
        batch: dict[str, Tensor] = {}
        for name, (like, everywhere) in self._known().items():
            padded = name in self._padding
            shape = (0, *like.shape[2:]) if padded else like.shape[1:]
            rows = [part[name] if name in part else like.new_zeros(part.items_count, *shape) for part in parts]
            batch[name] = torch.cat(_widened(rows, self._padding[name]) if padded else rows)
            if not everywhere:
                batch[f"has_{name}"] = torch.cat([torch.full((part.items_count,), name in part) for part in parts])
        return Signals(batch)

    def _known(self) -> dict[str, tuple[Tensor, bool]]:
        """Field -> one item of a source that has it, and whether all do; ValueError where two do not go together."""
        if not self._likes:
            self._likes = {name: source.gather(np.arange(1), 0) for name, source in self.sources.items()}
        found: dict[str, tuple[Tensor, bool]] = {}
        first: dict[str, str] = {}
        for source, likes in self._likes.items():
            for name, value in likes.items():
                like = found.get(name, (value, True))[0]
                whose = first.setdefault(name, source)
                axes = 2 if name in self._padding else 1  # from which on the forms must agree
                if (like.dtype, like.shape[axes:]) != (value.dtype, value.shape[axes:]):
                    raise ValueError(
                        f"field {name!r}: an item of {whose} is {like.dtype} {tuple(like.shape[1:])}, one of {source} "
                        f"{value.dtype} {tuple(value.shape[1:])}; a mixture needs one form, or another name for one of "
                        "them, or a padding for items of different lengths"
                    )
                found[name] = like, all(name in likes for likes in self._likes.values())
        taken = {"source", *(f"has_{name}" for name, (_, everywhere) in found.items() if not everywhere)} & found.keys()
        if taken:
            raise ValueError(f"the mixture itself names fields {sorted(taken)}: call those of its sources otherwise")
        return found


def _latest(source: Source, refill: int) -> int:
    """The number of this source's own last refill."""
    return 0 if source.refresh == "never" else refill


def _widened(rows: Sequence[Tensor], fill: float) -> list[Tensor]:
    """Each (n, T, ...) of them filled up behind to the largest T."""
    width = max(part.shape[1] for part in rows)
    missing = [part.new_full((len(part), width - part.shape[1], *part.shape[2:]), fill) for part in rows]
    return [torch.cat([part, more], 1) for part, more in zip(rows, missing, strict=True)]


@lru_cache(maxsize=16)
def _order(seed: int, source: int, size: int, turn: int) -> np.ndarray:
    return np.random.default_rng((seed, 0x301D, source, turn)).permutation(size)

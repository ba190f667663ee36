"""A growing store of rows in plain arrays, written to disk in shards that are never rewritten."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from embodkd.core.precision import as_default
from embodkd.core.runs.files import atomic_folder, read_tensors, write_tensors
from embodkd.core.signals import Signals
from embodkd.core.sources.kept import remove_outdated

Columns = Mapping[str, tuple[tuple[int, ...], np.dtype | str]]


class Buffer:
    """Rows of named columns, each one preallocated array (images stay uint8), appended in shards.

    aggregate: keep every shard (DAgger), or only the newest one. `capacity` rows are reserved at first; it grows.
    """

    def __init__(self, aggregate: bool = True, capacity: int = 0) -> None:
        self.aggregate = aggregate
        self._capacity = capacity
        self._columns: dict[str, np.ndarray] = {}
        # Row where each shard ends; without aggregation only the newest shard has rows.
        self._ends: list[int] = []

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._ends[-1] if self._ends else 0

    @property
    def shards(self) -> int:
        """How many shards have been appended since the start."""
        return len(self._ends)

    def extend(self, count: int, columns: Columns) -> dict[str, np.ndarray]:
        """Append a shard of `count` rows and return its columns as views to be filled in place.

        `columns`: name -> (shape of one row, dtype); the same in every call.
        """
        if not self.aggregate:
            self._ends = [0] * len(self._ends)
        start, stop = self.rows, self.rows + count
        self._grow(stop, columns)
        self._ends.append(stop)
        return {name: self._columns[name][start:stop] for name in columns}

    def gather(self, index: np.ndarray) -> Signals:
        """The rows at `index` (int64) as tensors, with their numbers as `sample_id`."""
        rows = torch.from_numpy(index)
        batch = {
            name: as_default(torch.from_numpy(column[: self.rows]).index_select(0, rows))
            for name, column in self._columns.items()
        }
        return Signals(batch, sample_id=rows)

    def save(self, folder: Path) -> None:
        """Write the shards that `folder` lacks."""
        for shard in range(self.shards):
            path = folder / f"shard_{shard}"
            start, stop = self._span(shard)
            if stop > start and not path.exists():
                with atomic_folder(path) as aside:
                    rows = {name: column[start:stop] for name, column in self._columns.items()}
                    write_tensors(aside / "rows.safetensors", rows)

    def tidy(self, folder: Path) -> None:
        """Remove shards that neither the checkpoint just written nor the one before it needs."""
        spans = [self._span(shard) for shard in range(self.shards)]
        remove_outdated(folder, "shard", [shard for shard, (start, stop) in enumerate(spans) if stop > start])

    def restore(self, folder: Path, shards: int) -> None:
        """Read the first `shards` shards back; `tidy` removes later ones, whose work is about to be repeated."""
        self._columns, self._ends = {}, []
        for shard in range(shards):
            if not self.aggregate and shard < shards - 1:
                self._ends.append(0)
                continue
            rows = read_tensors(folder / f"shard_{shard}" / "rows.safetensors")
            count = len(next(iter(rows.values())))
            columns = self.extend(count, {name: (value.shape[1:], value.dtype) for name, value in rows.items()})
            for name, value in rows.items():
                columns[name][:] = value

    def _span(self, shard: int) -> tuple[int, int]:
        return (self._ends[shard - 1] if shard else 0), self._ends[shard]

    def _grow(self, rows: int, columns: Columns) -> None:
        if self._columns and set(columns) != set(self._columns):
            raise ValueError(f"a buffer's columns cannot change: {sorted(self._columns)} became {sorted(columns)}")
        if self._columns and rows <= self._capacity:
            return
        self._capacity = max(rows, self._capacity, 2 * self.rows)
        former = self._columns
        self._columns = {n: np.empty((self._capacity, *shape), dtype) for n, (shape, dtype) in columns.items()}
        for name, column in former.items():
            self._columns[name][: self.rows] = column[: self.rows]

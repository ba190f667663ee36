"""Items of different lengths: kept end to end, padded to one width when they are gathered, with a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from embodkd.core.config.ranges import Count, Whole
from embodkd.core.precision import as_default
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source, TensorData, bucketed


@dataclass(frozen=True)
class EndToEnd:
    """N sequences in one array: number i is values[offset_N1[i] : offset_N1[i + 1]], values (L, ...), offsets (N + 1,).

    Either may be a map of a file.
    """

    values: np.ndarray
    offset_N1: np.ndarray

    @classmethod
    def of(cls, sequences: EndToEnd | Sequence[Any]) -> EndToEnd:
        """From a list of arrays (T_i, ...) or of lists of numbers; at least one."""
        if isinstance(sequences, EndToEnd):
            return sequences
        arrays = [np.asarray(sequence) for sequence in sequences]
        if not arrays:
            raise ValueError("sequences of different lengths: there is none; give at least one")
        full = [array for array in arrays if len(array)] or arrays[:1]
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays])])
        return cls(np.concatenate(full), offsets)

    @classmethod
    def heads(cls, rows_NT: np.ndarray, length_N: np.ndarray) -> EndToEnd:
        """The first length_N[i] of each row."""
        there_NT = np.arange(rows_NT.shape[1]) < length_N[:, None]
        return cls(rows_NT[there_NT], np.concatenate([[0], np.cumsum(length_N)]))

    def followed_by(self, others: EndToEnd) -> EndToEnd:
        """Each sequence and the other's of the same number behind it."""
        return EndToEnd.of([np.concatenate([self[k], others[k]]) for k in range(len(self))])

    def __len__(self) -> int:
        return len(self.offset_N1) - 1

    def __getitem__(self, place: int) -> np.ndarray:
        """Sequence number `place`, (T, ...)."""
        return self.values[self.offset_N1[place] : self.offset_N1[place + 1]]

    def lengths(self, index: np.ndarray | None = None) -> np.ndarray:
        """How long the sequences at `index` are, all without it, int64 (n,)."""
        if index is None:
            return np.diff(self.offset_N1).astype(np.int64)
        return np.asarray(self.offset_N1[index + 1] - self.offset_N1[index], np.int64)

    def padded(self, index: np.ndarray, fill: float, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The sequences at `index`, `fill` after their ends, (n, width, ...), and where they are, bool (n, width)."""
        start_n, column_T = np.asarray(self.offset_N1[index], np.int64), np.arange(width)
        there_nT = column_T < self.lengths(index)[:, None]
        rows = np.full((len(index), width, *self.values.shape[1:]), fill, self.values.dtype)
        rows[there_nT] = self.values[(start_n[:, None] + column_T)[there_nT]]
        return rows, there_nT


class Ragged(Source):
    """Sequences of different lengths beside fields of one size.

    sequences: name -> N arrays (T_i, ...), or EndToEnd; each field has lengths of its own (phonemes, frames). A batch
    holds it as (n, T, ...), the sequence first, then `padding[name]` (0 where nothing is said), and beside it
    `masks[name]`, bool (n, T), true where the sequence is; "NAME_mask" for every field unless `masks` says otherwise.
    fields: further tensors (N, ...), `sample_id` as in TensorData.
    pad_to: T is that of the longest in the "batch", which for a batch in pieces or on several processes is the part at
    hand, or of the longest in the "source", for what compares items across these; rounded up to a multiple of
    `multiple`.
    bucket: of the shuffled order so many batches at a time are sorted by the length of the first field (`bucketed`); 0
    leaves the order as it is.
    """

    def __init__(
        self,
        sequences: Mapping[str, EndToEnd | Sequence[Any]],
        fields: Mapping[str, Tensor | np.ndarray] | None = None,
        *,
        padding: Mapping[str, float] | None = None,
        masks: Mapping[str, str] | None = None,
        pad_to: Literal["batch", "source"] = "batch",
        multiple: Count = 1,
        bucket: Whole = 0,
    ) -> None:
        self._sequences = {name: EndToEnd.of(value) for name, value in sequences.items()}
        lengths = {name: len(value) for name, value in {**self._sequences, **(fields or {})}.items()}
        if not self._sequences or len(set(lengths.values())) != 1:
            raise ValueError(f"ragged items need sequences, and of each field as many; got {lengths}")
        self._masks = {name: f"{name}_mask" for name in sequences} if masks is None else dict(masks)
        self._padding = dict(padding or {})
        for what, given in (("padding", self._padding), ("masks", self._masks)):
            unknown = set(given) - set(self._sequences)
            if unknown:
                raise ValueError(
                    f"{what}: {sorted(unknown)} are no sequences here; there are {sorted(self._sequences)}"
                )
        for name, value in self._padding.items():
            dtype = self._sequences[name].values.dtype
            if dtype.kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
                raise ValueError(f"padding.{name}: {value} is no {dtype}, which the sequences are")
        self._size = next(iter(lengths.values()))
        self._beside = TensorData(fields) if fields else None
        self._multiple, self._bucket = multiple, bucket
        every = {name: int(s.lengths().max()) for name, s in self._sequences.items()} if pad_to == "source" else {}
        self._longest: dict[str, int] = every

    def size(self) -> int:
        """How many items there are."""
        return self._size

    def lengths(self, name: str) -> np.ndarray:
        """How long each sequence of this field is, int64 (N,)."""
        return self._sequences[name].lengths()

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """One pass over all items, by length in buckets where that was asked for."""
        if not self._bucket:
            return super().order(batch_size, *key, least=least)
        length_N = next(iter(self._sequences.values())).lengths()
        return bucketed(length_N, batch_size, *key, pool=self._bucket, least=least)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index`, padded, with their masks."""
        batch: dict[str, Tensor] = {}
        for name, sequences in self._sequences.items():
            longest = self._longest[name] if self._longest else int(sequences.lengths(index).max())
            width = -(-max(longest, 1) // self._multiple) * self._multiple
            rows, there = sequences.padded(index, self._padding.get(name, 0), width)
            batch[name] = as_tensor(rows)
            if name in self._masks:
                batch[self._masks[name]] = torch.from_numpy(there)
        if self._beside is None:
            return Signals(batch, sample_id=torch.from_numpy(np.asarray(index, np.int64)))
        return Signals(batch, **self._beside.gather(index, epoch))


def as_tensor(rows: np.ndarray) -> Tensor:
    """For a batch: whole numbers of more than a byte become int64, by which torch can look rows up."""
    if rows.dtype.kind in "iu" and rows.dtype.itemsize > 1:
        rows = rows.astype(np.int64, copy=False)
    return as_default(torch.from_numpy(rows))

"""Data that does not fit in memory: arrays in files that are mapped, of which a batch reads its own rows only.

FOLDER/NAME.npy                  (N, ...), one row per item
FOLDER/NAME.npy + NAME.offsets.npy   of different lengths: (L, ...) end to end, and where each begins, (N + 1,)
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embodkd.core.runs.files import atomic_folder
from embodkd.core.signals import Signals
from embodkd.core.sources.ragged import EndToEnd, Ragged, as_tensor
from embodkd.core.sources.source import Source

_ENDS = ".offsets"
_HELD = 1 << 22
"""Bytes of rows that are read before the pages of the maps are given back."""


class Mapped(Source):
    """The arrays of a folder as fields, see above; `sample_id` counts from 0 unless there is such a file.

    names: which of them, all without it. ragged: options of Ragged (padding, masks, pad_to, multiple, bucket) for
    those of different lengths. A batch is a function of its index, so any number of processes and a resumed run read
    the same; pages are given back to the system as it goes, so that memory holds little beyond a batch.
    ValueError if a file is missing, damaged, or has another number of rows.
    """

    def __init__(
        self, folder: str | Path, *, names: Sequence[str] | None = None, ragged: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = Path(folder)
        there = sorted(path.name[: -len(".npy")] for path in self.folder.glob("*.npy"))
        wanted = [name for name in there if not name.endswith(_ENDS)] if names is None else list(names)
        missing = [name for name in wanted if name not in there]
        if missing or not wanted:
            raise ValueError(f"{self.folder}: no array {', '.join(missing) or 'at all'}; it has {', '.join(there)}")
        self._maps: list[mmap.mmap] = []
        arrays = {name: self._open(name) for name in wanted}
        ends = {name: self._open(name + _ENDS) for name in wanted if name + _ENDS in there}
        self._fixed = {name: array for name, array in arrays.items() if name not in ends}
        sequences = {name: EndToEnd(arrays[name], end_N1) for name, end_N1 in ends.items()}
        for name, found in sequences.items():
            if int(found.offset_N1[0]) != 0 or int(found.offset_N1[-1]) != len(found.values):
                raise ValueError(
                    f"{self.folder / name}.npy has {len(found.values)} rows, and its offsets go from "
                    f"{int(found.offset_N1[0])} to {int(found.offset_N1[-1])}; write both anew"
                )
        sizes = {**{n: len(a) for n, a in self._fixed.items()}, **{n: len(s) for n, s in sequences.items()}}
        if len(set(sizes.values())) != 1 or 0 in sizes.values():
            raise ValueError(f"{self.folder}: its arrays need one number of rows, at least 1; got {sizes}")
        self._size = next(iter(sizes.values()))
        self._ragged = Ragged(sequences, **(ragged or {})) if sequences else None
        self._read = 0

    def size(self) -> int:
        """How many items there are."""
        return self._size

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """One pass over all items, in buckets where `ragged` says so."""
        if self._ragged is None:
            return super().order(batch_size, *key, least=least)
        return self._ragged.order(batch_size, *key, least=least)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The items at `index`, copied out of the files."""
        batch = {} if self._ragged is None else dict(self._ragged.gather(index, epoch))
        batch.setdefault("sample_id", torch.from_numpy(np.asarray(index, np.int64)))
        batch.update({name: as_tensor(np.asarray(array[index])) for name, array in self._fixed.items()})
        self._read += sum(value.nbytes for value in batch.values())
        if self._read >= _HELD:
            self._give_back()
        return Signals(batch)

    def _open(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            array = np.lib.format.open_memmap(path, "r")
        except (ValueError, OSError) as error:
            raise ValueError(f"{path}: no array ({error}); restore it or write it anew") from error
        if isinstance(array.base, mmap.mmap):
            array.base.madvise(mmap.MADV_RANDOM)  # what lies behind a row is not read with it
            self._maps.append(array.base)
        return array

    def _give_back(self) -> None:
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)
        self._read = 0


def write_mapped(folder: str | Path, fields: Mapping[str, Any]) -> None:
    """Write a folder for `Mapped`, whole or not at all.

    fields: name -> array (N, ...), or any sequence of N arrays (T_i, ...) whose dtype and further axes are those of the
    first; it is read item by item, twice, and need not be in memory. ValueError where numbers of rows differ.
    """
    sizes = {name: len(value) for name, value in fields.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ValueError(f"{folder}: fields need one number of rows, at least 1; got {sizes}")
    with atomic_folder(folder) as aside:
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                _new(aside / f"{name}.npy", value.dtype, value.shape)[:] = value
                continue
            first = np.asarray(value[0])
            end_N1 = _new(aside / f"{name}{_ENDS}.npy", np.dtype(np.int64), (len(value) + 1,))
            end_N1[:] = np.cumsum([0, *(len(item) for item in value)])
            rows = _new(aside / f"{name}.npy", first.dtype, (int(end_N1[-1]), *first.shape[1:]))
            for k, item in enumerate(value):
                rows[end_N1[k] : end_N1[k + 1]] = item


def _new(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return np.lib.format.open_memmap(path, "w+", dtype, shape)

"""One pass as it is stored: rows by sample id, of items or of their valid positions, mapped or in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from embodkd.core.banks.choice import Kept, SignalColumn
from embodkd.core.banks.rows import InMemory, OnDisk, Sink, mapped
from embodkd.core.runs.digests import write_digest
from embodkd.core.signals import Signals

IDS = "sample_id"
R = TypeVar("R", bound=Sink)


class Places:
    """Where each sample id lies; ValueError, naming the bank, if one lies in two places."""

    def __init__(self, ids_N: np.ndarray, bank: str) -> None:
        self.ids_N, self._bank = np.asarray(ids_N), bank
        self._order_N = np.argsort(self.ids_N, kind="stable")
        self._sorted_N = self.ids_N[self._order_N]
        if (self._sorted_N[1:] == self._sorted_N[:-1]).any():
            raise ValueError(f"{bank}: sample ids repeat in its source; a bank needs one row per sample")

    def of(self, ids_B: np.ndarray) -> np.ndarray:
        """The rows of these samples; ValueError for one that is not there."""
        at_B = np.minimum(np.searchsorted(self._sorted_N, ids_B), len(self._sorted_N) - 1)
        absent_B = self._sorted_N[at_B] != ids_B
        if absent_B.any():
            missing = ids_B[absent_B][:5].tolist()
            raise ValueError(f"{self._bank} holds nothing for the samples {missing}; was it filled from this data?")
        return self._order_N[at_B]


class Store:
    """files: name -> rows; among them `sample_id` (N,) and, for each mask, `MASK.offsets` (N + 1,) into its rows."""

    def __init__(self, columns: Sequence[SignalColumn], files: Mapping[str, np.ndarray], places: Places) -> None:
        self.columns, self.places = tuple(columns), places
        self._files = {name: rows for name, rows in files.items() if name != IDS}

    def __len__(self) -> int:
        return len(self.places.ids_N)

    def signals(self, ids_B: np.ndarray, masks: Mapping[str, Tensor]) -> Signals:
        """The rows of these samples, on the CPU.

        What has a row per valid position is laid out as the mask (B, T) is, where `masks` has it, else from the left,
        padded with zeros to the longest; that mask comes with it. ValueError for a mask of other lengths.
        """
        rows_B = self.places.of(ids_B)
        laid = {c.mask: self._positions(c.mask, rows_B, ids_B, masks.get(c.mask)) for c in self.columns if c.mask}
        found: dict[str, Tensor] = {}
        read: dict[str, np.ndarray] = {}
        for column in self.columns:
            at = laid[column.mask][0] if column.mask else rows_B
            if column.file not in read:
                read[column.file] = np.asarray(self._files[column.file][at])
            value = column.tensor(read[column.file])
            if column.mask:
                mask_BT = laid[column.mask][1]
                padded = value.new_zeros(*mask_BT.shape, *value.shape[1:])
                padded[mask_BT] = value
                value = padded
            found[column.name] = value
        return Signals(found, **{mask: mask_BT for mask, (_, mask_BT) in laid.items()})

    def of_items(self, name: str, ids_B: np.ndarray) -> Tensor:
        """One signal that has a row per item, of these samples."""
        (column,) = (column for column in self.columns if column.name == name)
        return column.tensor(np.asarray(self._files[column.file][self.places.of(ids_B)]))

    def _positions(
        self, mask: str, rows_B: np.ndarray, ids_B: np.ndarray, given_BT: Tensor | None
    ) -> tuple[np.ndarray, Tensor]:
        """(rows of the valid positions of these items, item by item, where they come to lie)."""
        offsets = self._files[f"{mask}.offsets"]
        starts_B, stops_B = np.asarray(offsets[rows_B]), np.asarray(offsets[rows_B + 1])
        counts_B = stops_B - starts_B
        if given_BT is None:
            given_BT = torch.arange(counts_B.max(initial=0)) < torch.from_numpy(counts_B)[:, None]
        found_B = given_BT.flatten(1).sum(1).numpy()
        if (found_B != counts_B).any():
            at = int((found_B != counts_B).argmax())
            raise ValueError(
                f"the bank holds {counts_B[at]} positions of sample {ids_B[at]}, and its {mask} has {found_B[at]}"
            )
        first_B = np.cumsum(counts_B) - counts_B
        return np.repeat(starts_B - first_B, counts_B) + np.arange(counts_B.sum()), given_BT


def hold(pieces: Iterable[Kept], bank: str) -> Store:
    """The store of these pieces, in memory."""
    columns, files = _appended(pieces, InMemory)
    arrays = {name: rows.array() for name, rows in files.items()}
    return Store(columns, arrays, Places(arrays[IDS], bank))


def write(pieces: Iterable[Kept], folder: Path) -> tuple[SignalColumn, ...]:
    """Write these pieces into `folder`, each when it comes, and say what the columns are."""
    with ExitStack() as stack:
        columns, files = _appended(
            pieces, lambda name: OnDisk(stack.enter_context(open(folder / f"{name}.npy", "wb")), name)
        )
        for rows in files.values():
            rows.finish()
    for name in sorted(files):
        write_digest(folder / f"{name}.npy")
    return columns


def files_of(columns: Sequence[SignalColumn]) -> list[str]:
    """The names of the files in which these columns lie."""
    return sorted({IDS, *(c.file for c in columns), *(f"{c.mask}.offsets" for c in columns if c.mask)})


def opened(folder: Path, columns: Sequence[SignalColumn], bank: str, like: Store | None) -> Store:
    """The store in `folder`, mapped. `like`: another pass, whose places are shared if its samples are the same."""
    files = {name: mapped(folder, name) for name in files_of(columns)}
    for column in columns:
        names = files[column.file].dtype.names
        if names is not None and column.name not in names:
            raise ValueError(f"{folder / column.file}.npy: has no {column.name}; remove {folder} to make it anew")
    if like is not None and np.array_equal(like.places.ids_N, files[IDS]):
        return Store(columns, files, like.places)
    return Store(columns, files, Places(files[IDS], bank))


def _appended(pieces: Iterable[Kept], make: Callable[[str], R]) -> tuple[tuple[SignalColumn, ...], dict[str, R]]:
    """(the columns, file -> rows)."""
    columns: tuple[SignalColumn, ...] = ()
    files: dict[str, R] = {}
    ends: dict[str, int] = {}
    for piece in pieces:
        columns = columns or piece.columns
        rows = {IDS: piece.ids, **piece.files}
        for mask, counts_N in piece.counts.items():
            stops_N = ends.get(mask, 0) + np.cumsum(counts_N)
            rows[f"{mask}.offsets"] = stops_N if mask in ends else np.concatenate([[0], stops_N])
            ends[mask] = int(stops_N[-1])
        for name, new in rows.items():
            if name not in files:
                files[name] = make(name)
            files[name].append(new)
    return columns, files

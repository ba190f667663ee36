"""Where a bank's rows are appended, piece by piece: arrays in memory, or .npy files that are never held as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Protocol

import numpy as np


class Sink(Protocol):
    """Where rows go."""

    def append(self, rows: np.ndarray) -> None:
        """Further rows, of the same type and shape as the first ones; ValueError otherwise."""
        ...


class InMemory:
    """Rows in pieces, put together once."""

    def __init__(self, name: str) -> None:
        self._name, self._pieces = name, list[np.ndarray]()

    def append(self, rows: np.ndarray) -> None:
        """Keep a copy of these."""
        if self._pieces:
            _check_alike(self._name, self._pieces[0], rows)
        self._pieces.append(rows.copy())

    def array(self) -> np.ndarray:
        """All rows."""
        self._pieces = [np.concatenate(self._pieces)]
        return self._pieces[0]


class OnDisk:
    """Rows of FOLDER/NAME.npy, open for writing as `stream`; its head is written when their number is known."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self._stream, self._name = stream, name
        self._first: np.ndarray | None = None
        self._count, self._start = 0, 0

    def append(self, rows: np.ndarray) -> None:
        """Write these."""
        if self._first is None:
            self._first = rows[:0].copy()
            self._head(self._first)
            self._start = self._stream.tell()
        _check_alike(self._name, self._first, rows)
        self._stream.write(rows.tobytes())
        self._count += len(rows)

    def finish(self) -> None:
        """No more follow."""
        assert self._first is not None
        self._stream.seek(0)
        self._head(self._first)
        # numpy leaves room in a head for the first axis to grow
        assert self._stream.tell() == self._start

    def _head(self, like: np.ndarray) -> None:
        shape, descr = (self._count, *like.shape[1:]), np.lib.format.dtype_to_descr(like.dtype)
        head = {"shape": shape, "fortran_order": False, "descr": descr}
        np.lib.format.write_array_header_1_0(self._stream, head)


def mapped(folder: Path, name: str) -> np.ndarray:
    """The rows of FOLDER/NAME.npy, mapped; ValueError naming it if it is no such file."""
    file = folder / f"{name}.npy"
    try:
        return np.lib.format.open_memmap(file, "r")
    except (ValueError, OSError) as error:
        raise ValueError(f"{file}: no array ({error}); remove {folder} to make it anew") from error


def _check_alike(name: str, first: np.ndarray, rows: np.ndarray) -> None:
    if (rows.dtype, rows.shape[1:]) != (first.dtype, first.shape[1:]):
        raise ValueError(
            f"bank: {name} has rows of {rows.dtype} {rows.shape[1:]} in one batch and of {first.dtype} "
            f"{first.shape[1:]} in another; for items of different length name the mask of their positions by lengths="
        )

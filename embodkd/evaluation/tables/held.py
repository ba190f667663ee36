"""One process at a time where several may come: two fillings of one table, a cell that is carried out twice."""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_S = 0.05


class Busy(OSError):
    """Another process holds it."""


@contextmanager
def held(place: Path, patience_s: float = math.inf) -> Iterator[int]:
    """Hold PLACE.lock, which lies beside `place` as long as somebody does; yields its file descriptor.

    A child process that inherits the descriptor holds the lock too, should this process be killed. Raises Busy where
    another one has held it for `patience_s` seconds.
    """
    file = place.with_name(f"{place.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + patience_s
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _taken(handle) and _is(file, handle):
                try:
                    yield handle
                finally:
                    # While it is held: who waits for it finds that this file is no more, and makes another.
                    file.unlink(missing_ok=True)
                return
        finally:
            os.close(handle)
        if time.monotonic() >= until:
            raise Busy(f"{place}: another process has worked on it for {patience_s:.0f} s; wait for it, or stop it")
        time.sleep(_LOOK_S)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(file: Path, handle: int) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        now = file.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(handle)
    return (now.st_dev, now.st_ino) == (own.st_dev, own.st_ino)

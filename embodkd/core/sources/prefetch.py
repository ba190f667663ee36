"""The next batches, got ready by a thread while the model learns from the one at hand."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextvars import copy_context
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from embodkd.core.batch.pieces import Piece, gathered
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source

T = TypeVar("T")
_Ready: TypeAlias = "Queue[tuple[str, Any]]"
_BEAT_S = 0.1
"""How often a thread that waits looks whether it is still wanted."""


def ahead(items: Iterable[T], count: int) -> Generator[T]:
    """The same items, of which a thread makes up to `count` before they are asked for; 0 makes each when it is.

    An error comes out where its item would have, with the traceback of where it was raised. Close the generator
    (`contextlib.closing`) to end the thread before the items do.
    """
    if count < 1:
        yield from items
        return
    ready: _Ready = Queue(count)
    unwanted = Event()
    thread = Thread(target=copy_context().run, args=(_make, iter(items), ready, unwanted), name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        unwanted.set()
        thread.join()


def coming(
    source: Source,
    order: Iterable[tuple[np.ndarray, int]],
    count: int,
    process: int = 0,
    processes: int = 1,
    pieces: int = 1,
) -> Generator[tuple[np.ndarray, list[Piece]]]:
    """Each batch of `order` with this process's pieces of it, see `gathered`, pinned; up to `count` of them ahead.

    None is made ahead of a source that is refilled at every step: that may write by what the update before changed.
    """
    made = ((index, _gathered(source, index, epoch, process, processes, pieces)) for index, epoch in order)
    return ahead(made, 0 if source.refresh == "step" else count)


def pinned(batch: Signals) -> Signals:
    """In memory that a card can copy from while it computes; as it is where torch sees no card."""
    return batch.map(torch.Tensor.pin_memory) if torch.cuda.is_available() else batch


def _gathered(source: Source, index: np.ndarray, epoch: int, *cut: int) -> list[Piece]:
    return [Piece(pinned(piece.batch), piece.portion) for piece in gathered(source, index, epoch, *cut)]


def _make(items: Iterator[Any], ready: _Ready, unwanted: Event) -> None:
    try:
        for item in items:
            if not _put(ready, ("item", item), unwanted):
                return
        _put(ready, ("end", None), unwanted)
    except BaseException as error:
        _put(ready, ("error", error), unwanted)


def _put(ready: _Ready, what: tuple[str, Any], unwanted: Event) -> bool:
    while not unwanted.is_set():
        try:
            ready.put(what, timeout=_BEAT_S)
            return True
        except Full:
            continue
    return False

"""The whole batch, asked for by what holds only some of its items: one process of several, or one piece of a batch.

What an item's value owes to the other items goes through here: `whole` gives the rows of all items, `own` takes the
rows of those that are here out of them, `drawn` draws for all items and gives the rows of those that are here, so that
an item's draw depends on its place in the batch alone. For a process that holds the whole batch all of them give back
what they get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor

from embodkd.core.batch.sums import all_sum
from embodkd.core.transfer import sent

P = ParamSpec("P")


@dataclass(frozen=True)
class Portion:
    """The items that are here: their places (n,) among all `items` of the batch.

    processes: among how many the batch is shared out; pieces: in how many this process works its own share through.
    """

    place_N: Tensor
    items: int
    processes: int = 1
    pieces: int = 1

    def to(self, device: torch.device) -> Portion:
        """With the places on `device`."""
        return Portion(self.place_N.to(device), self.items, self.processes, self.pieces)


_here: ContextVar[Portion | None] = ContextVar("portion", default=None)


def portion() -> Portion | None:
    """What of the batch is here; None is all of it."""
    return _here.get()


@contextmanager
def looking_at(what: Portion | None) -> Iterator[None]:
    """While open, `what` of the batch is here."""
    token = _here.set(what)
    try:
        yield
    finally:
        _here.reset(token)


def whole(rows: Tensor, what: str) -> Tensor:
    """The rows of all items in the order of the batch, (n, ...) -> (N, ...); differentiable.

    ValueError, naming `what` wants them, where the batch is worked through in pieces, or for rows that are not one per
    item.
    """
    here = _here.get()
    return rows if here is None else _gathered(rows, here, what)


def own(rows: Tensor) -> Tensor:
    """Of rows of all items those of the items that are here, (N, ...) -> (n, ...)."""
    here = _here.get()
    return rows if here is None else rows.index_select(0, sent(here.place_N, rows.device))


def drawn(count: int, draw: Callable[[int], Tensor]) -> Tensor:
    """`draw(N)`, N random rows for all items of the batch; of them the rows of the `count` items that are here."""
    here = _here.get()
    if here is None:
        return draw(count)
    if count != len(here.place_N):
        raise ValueError(f"a draw of {count} rows where {len(here.place_N)} items of a batch are: draw one per item")
    return own(draw(here.items))


def batch_mean(rows: Tensor, what: str) -> Tensor:
    """The mean over all items of the batch, (n, ...) -> (...); differentiable. ValueError as for `whole`."""
    here = _here.get()
    if here is None:
        return rows.mean(0)
    _check(rows, here, what)
    return all_sum(rows.sum(0)) / here.items


def over_the_batch(term: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """A term whose value for an item depends on the others: it is always called with the rows of the whole batch.

    Its tensors hold one row per item, and so does what it returns.
    """

    @wraps(term)
    def of_the_whole(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        if _here.get() is None:
            return term(*args, **kwargs)

        def rows(value: Any) -> Any:
            return whole(value, term.__name__) if isinstance(value, Tensor) and value.ndim else value

        everything: Any = [rows(value) for value in args], {name: rows(value) for name, value in kwargs.items()}
        return own(term(*everything[0], **everything[1]))

    return of_the_whole


def _check(rows: Tensor, here: Portion, what: str) -> None:
    if here.pieces > 1:
        raise ValueError(
            f"{what} compares the items of a whole batch, which trainer.accumulate cuts into {here.pieces} pieces: "
            "set trainer.accumulate=1, and a smaller batch if memory is short"
        )
    if len(rows) != len(here.place_N):
        raise ValueError(f"{what}: has {len(rows)} rows, the batch here {len(here.place_N)} items; one row per item")


def _gathered(rows: Tensor, here: Portion, what: str) -> Tensor:
    _check(rows, here, what)
    # Each process fills its own rows and adds what the others fill: order and gradient come out by themselves.
    sent = {torch.bool: torch.uint8, torch.bfloat16: torch.float32}.get(rows.dtype, rows.dtype)
    empty = torch.zeros(here.items, *rows.shape[1:], dtype=sent, device=rows.device)
    return all_sum(empty.index_copy(0, here.place_N.to(rows.device), rows.to(sent))).to(rows.dtype)

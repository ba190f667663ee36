"""How a batch is shared out: among processes, and within each into the pieces that it works through one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from embodkd.core.batch.draws import Replay
from embodkd.core.batch.layers import whole_layers
from embodkd.core.batch.whole import Portion, looking_at, whole
from embodkd.core.recipe import Prepare
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source


@dataclass(frozen=True)
class Piece:
    """What a process works through at once: some items of the batch, and which ones (None: all of it)."""

    batch: Signals
    portion: Portion | None = None


def shares(
    index: np.ndarray, process: int = 0, processes: int = 1, pieces: int = 1
) -> Iterator[tuple[np.ndarray, Portion | None]]:
    """This process's part of the batch `index`, piece by piece, and the places that each has in the batch.

    Every process has as many pieces as the others: at most one for each item of the process that has fewest.
    """
    places = np.arange(process, len(index), processes)
    pieces = min(pieces, max(1, len(index) // processes))
    if processes == 1 and pieces == 1:
        yield index, None
        return
    for part in np.array_split(places, pieces):
        if len(part):
            yield index[part], Portion(torch.from_numpy(part), len(index), processes, pieces)


def gathered(
    source: Source, index: np.ndarray, epoch: int, process: int = 0, processes: int = 1, pieces: int = 1
) -> list[Piece]:
    """This process's part of the batch `index`, see `shares`, on the CPU.

    It is gathered at once and then cut: items of different lengths are padded alike in all pieces.
    """
    cut = list(shares(index, process, processes, pieces))
    if len(cut) < 2:
        return [Piece(source.gather(own, epoch), portion) for own, portion in cut]
    ends = np.cumsum([0, *(len(own) for own, _ in cut)]).tolist()
    rows = source.gather(np.concatenate([own for own, _ in cut]), epoch)
    return [
        Piece(rows.rows(slice(start, stop)), portion)
        for start, stop, (_, portion) in zip(ends[:-1], ends[1:], cut, strict=True)
    ]


def with_partners(function: Prepare) -> Prepare:
    """Mark a `Stage.prepare` function that mixes items with others: it is called once for all pieces together.

    It reaches the other processes' items through `whole`.
    """
    function.with_partners = True  # type: ignore[attr-defined] # functions take attributes
    return function


def prepared(batch: Signals, functions: Sequence[Prepare]) -> Signals:
    """The batch with the fields that `functions` make of it, one after the other."""
    for function in functions:
        batch = batch.merge(**function(batch))
    return batch


def prepared_pieces(pieces: Sequence[Piece], functions: Sequence[Prepare]) -> list[Piece]:
    """`prepared`, for a batch in pieces: each function draws for every piece what it would draw for the whole."""
    if len(pieces) == 1:
        (piece,) = pieces
        with whole_layers(piece.portion):
            return [Piece(prepared(piece.batch, functions), piece.portion)]
    found = list(pieces)
    for function in functions:
        call = _together if getattr(function, "with_partners", False) else _one_by_one
        found = call(found, function)
    return found


def whole_batch(pieces: Sequence[Piece]) -> Signals:
    """All items of the batch, those of other processes too, which must ask for it at the same time."""
    everything, joined = _joined(pieces)
    with looking_at(joined):
        return everything.map(lambda rows: whole(rows, "the batch"))


def _one_by_one(pieces: Sequence[Piece], function: Prepare) -> list[Piece]:
    replay, found = Replay(pieces[0].batch.device), []
    for piece in pieces:
        replay.again()
        with whole_layers(piece.portion):
            found.append(Piece(prepared(piece.batch, [function]), piece.portion))
    return found


def _together(pieces: Sequence[Piece], function: Prepare) -> list[Piece]:
    everything, joined = _joined(pieces)
    with whole_layers(joined):
        new = Signals(dict(function(everything)))
    found, start = [], 0
    for piece in pieces:
        stop = start + piece.batch.items_count
        found.append(Piece(piece.batch.merge(**dict(new.rows(slice(start, stop)))), piece.portion))
        start = stop
    return found


def _joined(pieces: Sequence[Piece]) -> tuple[Signals, Portion | None]:
    """This process's share of the batch, whole again."""
    everything = Signals({name: torch.cat([piece.batch[name] for piece in pieces]) for name in pieces[0].batch})
    portions = [piece.portion for piece in pieces if piece.portion is not None]
    if not portions or portions[0].processes == 1:
        return everything, None
    return everything, Portion(torch.cat([p.place_N for p in portions]), portions[0].items, portions[0].processes)

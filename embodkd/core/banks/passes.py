"""One pass over the data: every item of a source once, in order, with what one or several answerers say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from embodkd.core.fingerprint import digest
from embodkd.core.precision import wide_type
from embodkd.core.recipe import Answers
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source


class SideBySide:
    """Answerers side by side: the signal "logits" of the answerer "a" is "a.logits"."""

    def __init__(self, parts: Mapping[str, Answers]) -> None:
        if not parts:
            raise ValueError("a bank needs at least one answerer")
        self.parts = dict(parts)

    def each(self, names: Sequence[str]) -> list[str]:
        """`names` of signals, with those that name no answerer meant of each."""
        mine = {name: name.rpartition(".")[0] in self.parts for name in names}
        return [full for n in names for full in ([n] if mine[n] else [f"{part}.{n}" for part in self.parts])]

    def signals(self, batch: Signals) -> Signals:
        """Those of all of them."""
        said = {name: part.signals(_as_wide(part, batch)) for name, part in self.parts.items()}
        return Signals({f"{name}.{signal}": value for name, s in said.items() for signal, value in s.items()})


def collect(
    answerer: Answers, source: Source, *, batch_size: int = 512, device: torch.device | str = "cpu", epoch: int = 0
) -> Signals:
    """The batch fields and signals of all items of `source`, in order, on the CPU; signals win where names agree."""
    place(answerer, device)
    pieces = [answered(answerer, rows, device) for rows in in_pieces(source, batch_size, epoch)]
    return Signals({name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]})


def in_pieces(source: Source, batch_size: int, epoch: int) -> Iterator[Signals]:
    """All items of `source`, in order."""
    for start in range(0, source.size(), batch_size):
        yield source.gather(np.arange(start, min(start + batch_size, source.size())), epoch)


def place(answerer: Answers, device: torch.device | str) -> None:
    """Put the models of roles on `device`, in double precision where that is torch's default."""
    for part in answerer.parts.values() if isinstance(answerer, SideBySide) else (answerer,):
        if isinstance(part, Role):
            part.model.to(device=device, dtype=wide_type())


@torch.no_grad()
def answered(answerer: Answers, rows: Signals, device: torch.device | str) -> Signals:
    """Gathered `rows` and the signals for them, which win where names agree, on the CPU and without gradient."""
    batch = _as_wide(answerer, rows.to(device))
    return batch.merge(**dict(answerer.signals(batch))).map(lambda value: value.detach().cpu())


def marks(answerer: Answers, bank: str) -> dict[str, str]:
    """Digests of all that the answers depend on, by name; ValueError for an answerer of `bank` that has none."""
    if isinstance(answerer, SideBySide):
        parts = {name: _marks(part, f"{bank}: {name}") for name, part in answerer.parts.items()}
        return {f"{name}'s {what}": mark for name, found in parts.items() for what, mark in found.items()}
    whose = "teacher's " if isinstance(answerer, Role) else ""
    return {f"{whose}{what}": mark for what, mark in _marks(answerer, bank).items()}


def _marks(answerer: Answers, bank: str) -> dict[str, str]:
    if isinstance(answerer, Role):
        return answerer.fingerprint()
    return {"answerer": digest(answerer, f"{bank}: its answerer, a {type(answerer).__name__}")}


def _as_wide(answerer: Answers, batch: Signals) -> Signals:
    """A model that was trained in double precision asks for it afterwards too."""
    if not (isinstance(answerer, Role) and any(p.dtype is torch.float64 for p in answerer.model.parameters())):
        return batch
    return batch.map(lambda value: value.double() if value.is_floating_point() else value)

"""A policy at work in many environments: what it remembers of each of them, and network calls of a fixed size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from embodkd.core import Actor

CHUNK = 32


class Session(Protocol):
    """A policy in `copies` environments. Rows of what is observed belong to the copies `ids`; None: all, in order."""

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Episodes start in these copies: forget what was planned there."""
        ...

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """The next deterministic actions, clipped to [-1, 1], float32 (n, A)."""
        ...


def session_of(actor: Actor, copies: int, chunk: int = CHUNK) -> Session:
    """`actor.session(copies, chunk)` if the actor remembers anything between steps, else its `act` as a session."""
    make = getattr(actor, "session", None)
    made: Session = Stateless(actor, chunk) if make is None else make(copies, chunk)
    return made


class Stateless:
    """The session of an actor that answers each observation by itself."""

    def __init__(self, actor: Actor, chunk: int = CHUNK) -> None:
        self.actor, self.chunk = actor, chunk

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Nothing is remembered, so nothing is forgotten."""

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """See Session.act."""
        return act_in_chunks(self.actor, obs, self.chunk)


def act_in_chunks(actor: Actor, obs: Mapping[str, np.ndarray], chunk: int = CHUNK) -> np.ndarray:
    """The actor's actions (n, A), computed `chunk` rows at a time."""
    return in_chunks(actor.act, obs, chunk=chunk)


def in_chunks(
    function: Callable[..., np.ndarray], obs: Mapping[str, np.ndarray], *beside: np.ndarray, chunk: int = CHUNK
) -> np.ndarray:
    """`function(obs, *beside)` of rows (n, ...), `chunk` at a time, the last chunk filled up with zeros.

    Matrix products of other sizes round differently in the last bits, which a contact can blow up: at a fixed size an
    episode's actions do not depend on how many others run beside it. A multiple of 16 also fills vector registers
    whole: what does not is computed by other code, which rounds the last row differently again.
    """
    count = len(next(iter(obs.values())))
    parts = []
    for start in range(0, count, chunk):
        here = slice(start, start + chunk)
        seen = {name: _filled(values[here], chunk) for name, values in obs.items()}
        parts.append(function(seen, *(_filled(values[here], chunk) for values in beside))[: count - start])
    return np.concatenate(parts)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """These rows (n, ...) and zeros below them, `count` in all."""
    missing = count - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows

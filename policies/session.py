"""A policy at work in many environments, and what it remembers of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from embodkd.core import Actor
from embodkd.core.sources.chunks import CHUNK, in_chunks


class Session(Protocol):
    """A policy in `copies` environments. Rows of what is observed belong to the copies `ids`; None: all, in order."""

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Episodes start in these copies: forget what was planned there."""
        ...

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """The next deterministic actions, within their bounds, float32 (n, A)."""
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

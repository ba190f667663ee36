"""Views: what part of a batch, or what changed copy of it, a model gets to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from embodkd.core.signals import Signals

View = Callable[[Signals], Any]


def as_view(what: str | Sequence[str] | View) -> View:
    """A view from its short forms: one name (that tensor), several names (a dictionary of them), or a callable."""
    if isinstance(what, str):
        return field(what)
    return what if callable(what) else select(*what)


def field(name: str) -> View:
    """The model is called with one tensor of the batch."""

    def view(batch: Signals) -> Tensor:
        return batch[name]

    return view


def select(*groups: str) -> View:
    """The model is called with a dictionary of these observation groups and sees nothing else of the batch."""
    if not groups:
        raise ValueError("select() needs at least one observation group")

    def view(batch: Signals) -> dict[str, Tensor]:
        return {name: batch[name] for name in groups}

    return view

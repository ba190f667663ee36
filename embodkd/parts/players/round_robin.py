"""Parts of a whole that learn in turns, a few updates each: who comes when, and where curves are by then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from embodkd.core import Context, Schedule, linear


@dataclass(frozen=True)
class Visit:
    """`updates` updates of part `part`, which has had `before` of its `total`; last: there are no more after it."""

    part: int
    before: int
    updates: int
    total: int

    @property
    def last(self) -> bool:
        """Whether it is the part's last one."""
        return self.before + self.updates == self.total

    def stretch(self, curve: Callable[[float], float]) -> Schedule:
        """The piece of `curve` (share of the part's updates, 0..1 -> number) that this visit goes along, as a line."""
        steps = max(1, self.total - 1)
        return linear(curve(self.before / steps), curve((self.before + self.updates - 1) / steps))


def in_turns(parts: int, total: int, interval: int) -> Iterator[Visit]:
    """Visits of `interval` updates, one part after the other, round by round, until each part has had `total`.

    The last round is shorter where `interval` does not divide `total`.
    """
    for before in range(0, total, interval):
        for part in range(parts):
            yield Visit(part, before, min(interval, total - before), total)


class Turn:
    """A step after which one of `parts` learns and the others do not."""

    def __init__(self, parts: Iterable[nn.Module], which: int) -> None:
        self.parts, self.which = list(parts), which

    def __call__(self, context: Context) -> None:
        """Hand the turn over."""
        for number, part in enumerate(self.parts):
            part.requires_grad_(number == self.which)

    restore = __call__

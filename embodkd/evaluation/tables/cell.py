"""A cell of a table: one command, what it comes after, and the mark of what it would make now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from platform import node
from typing import Any

from embodkd.core.config.registry import near
from embodkd.evaluation.tables.mark import Mark, changes, mark
from embodkd.evaluation.tables.sources import sources

Resolve = Callable[[str], tuple[str, Mapping[str, Any]]]
"""From a command to what runs, "module:function", and the resolved config that it gets."""
# Where a result lies and how much is said meanwhile does not change it.
_ASIDE = ("run", "out", "quiet", "resume", "tracker")
_MEND = "install the same there"


@dataclass(frozen=True)
class Cell:
    """One `embodkd` command.

    name: unique among the cells of its file; table: the one that its row stands in; command: what is typed after
    `embodkd`; run: its folder; after: the names of cells that must be done first; setting: the grid's values; facts:
    what its row says besides, None for a cell that only leaves something that others need; said: the command with
    every folder where it lies by default, so that a result is the same wherever it was made.
    """

    name: str
    table: str
    command: str
    run: Path
    said: str
    after: tuple[str, ...] = ()
    setting: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] | None = None


Cells = Mapping[str, Cell]


class Marks:
    """The mark that each of some cells would get now."""

    def __init__(self, cells: Cells, resolve: Resolve) -> None:
        self._cells, self._resolve = cells, resolve
        self._known: dict[str, Mark] = {}
        self._resolved: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def of(self, name: str) -> Mark:
        """The mark of a cell, with those of all that it comes after in it."""
        if name not in self._known:
            cell = self._cells[name]
            # once: Hydra composes one config at a time, and cells run side by side
            root, config = self._resolved[name] = self._resolve(cell.said)
            kept = {key: value for key, value in config.items() if key not in _ASIDE}
            after = {other: self.of(other) for other in cell.after}
            self._known[name] = mark(kept, sources().digest([root], config), after)
        return self._known[name]

    def ready(self, name: str) -> Ready:
        """A cell with its mark, as it can be given to another process."""
        mark = self.of(name)
        return Ready(self._cells[name], mark, *self._resolved[name])


@dataclass(frozen=True)
class Ready:
    """A cell with its mark, made where a table is filled; root, config: what runs, and with what."""

    cell: Cell
    mark: Mark
    root: str
    config: Mapping[str, Any]

    def check(self) -> None:
        """RuntimeError unless what this process would run, here and now, is what the mark was made from."""
        if edited := sources().edited([self.root], self.config):
            raise RuntimeError(f"{edited[0]} was edited since the table began to be filled; begin again")
        here = mark(self.mark["config"], sources().digest([self.root], self.config))
        if here["sources"] != self.mark["sources"]:
            raise RuntimeError(f"{node()} has another embodkd than the machine that fills the table: {_MEND}")
        if apart := changes(here["versions"], self.mark["versions"]):
            raise RuntimeError(
                f"{node()} has other packages than the machine that fills the table: {apart[0]}; {_MEND}"
            )


def chosen(cells: Cells, words: Iterable[str]) -> list[str]:
    """The cells whose name contains one of `words`, all without; a word that is itself a name means that cell alone.

    ValueError, with the nearest parts of names, for a word that no name contains.
    """
    words = list(words)
    for word in words:
        if not any(word in name for name in cells):
            parts = sorted({part for name in cells for part in name.split("/")})
            raise ValueError(f"arms: no cell has {word!r} in its name; {near(word, parts)}")
    return [n for n in cells if not words or any(n == word if word in cells else word in n for word in words)]


def with_needed(names: Iterable[str], cells: Cells, there: Callable[[str], bool]) -> dict[str, Cell]:
    """`names`, and before each what it comes after and is not `there`."""
    found: dict[str, Cell] = {}

    def collect(name: str) -> None:
        for other in cells[name].after:
            if other not in found and not there(other):
                collect(other)
        found[name] = cells[name]

    for name in names:
        collect(name)
    return found

"""Tables of whole systems: chains of `embodkd` commands over a grid of settings, each judged cell stored at once.

A file in configs/systems/ names its grids and cells:

    slug: resip
    tables:
      main:                                   # every combination of the values below
        grid: {task: [peg_assembly], randomness: [low], seed: [0, 1, 2]}
        cells:
          base:
            after: [demos]                    # cells of the same combination that must be there first
            command: distill student demos={demos} ... seed={seed} run={run}
            row: {policy: base, modality: state}     # judged: its evaluation becomes a row of the results

{run} is the cell's own run folder, the name of another cell in braces is that cell's, any grid key its value. `set`
gives values that depend on one of the grid's: `set: {task: {peg_assembly: {steps: 100}}}`. A cell without `row` only
leaves something that others need; one that only evaluates says out={run}/evaluation.json. `only: {seed: [0]}` restricts
a cell to a part of the grid.
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from embodkd.core.config.registry import near
from embodkd.core.config.schema import build
from embodkd.core.runs.files import read_json, write_json
from embodkd.evaluation.outcome import is_finished, outcome


@dataclass(frozen=True)
class Cell:
    """One command. `name` is unique in its file; `run` its folder; `after` the names of cells that must be done."""

    name: str
    table: str
    setting: Mapping[str, Any]
    command: str
    run: Path
    after: tuple[str, ...]
    row: Mapping[str, Any] | None


@dataclass(frozen=True)
class _Cell:
    """The keys of a cell in the file."""

    command: str
    after: list[str] = field(default_factory=list)
    row: dict[str, Any] | None = None
    only: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Table:
    """The keys of a table in the file."""

    grid: dict[str, list[Any]]
    cells: dict[str, Any]
    set: dict[str, dict[Any, dict[str, Any]]] = field(default_factory=dict)


def read_chains(file: str | Path, runs: str | Path | None = None) -> dict[str, Cell]:
    """All cells of a file by name, dependencies first; ValueError, naming the place, for a wrong key or name."""
    content = yaml.safe_load(Path(file).read_text("utf-8"))
    runs = Path(runs or Path("runs", content["slug"]))
    cells: dict[str, Cell] = {}
    for table_name, raw in content["tables"].items():
        table = build(_Table, raw, f"{file}: tables.{table_name}")
        kinds = {name: build(_Cell, c, f"{file}: tables.{table_name}.cells.{name}") for name, c in table.cells.items()}
        for setting in _grid(table.grid):
            chosen = dict(setting)
            for key, choices in table.set.items():
                chosen |= choices.get(setting[key], {})
            place = "/".join(str(value) for value in setting.values())
            folders = {name: runs / place / name for name in kinds}
            if twice := sorted(chosen.keys() & folders.keys()):
                raise ValueError(
                    f"{file}: tables.{table_name}: {twice[0]!r} is a cell and a setting; rename one of them"
                )
            for name, kind in kinds.items():
                if any(setting[key] not in allowed for key, allowed in kind.only.items()):
                    continue
                where = f"{file}: tables.{table_name}.cells.{name}"
                unknown = [other for other in kind.after if other not in kinds]
                if unknown:
                    raise ValueError(f"{where}.after: no cell {unknown[0]!r}; there are {', '.join(kinds)}")
                try:
                    command = kind.command.format(run=folders[name], **folders, **chosen)
                except KeyError as error:
                    raise ValueError(f"{where}.command: nothing is called {{{error.args[0]}}}") from None
                after = tuple(f"{place}/{other}" for other in kind.after)
                cell = Cell(f"{place}/{name}", table_name, setting, command, folders[name], after, kind.row)
                # a later table may share cells of a former one: they are the same only if their command is
                former = cells.setdefault(cell.name, cell)
                if former.command != cell.command:
                    raise ValueError(f"{where}: {cell.name} stands in table {former.table} with another command")
    return cells


def fill(
    cells: Mapping[str, Cell], out: str | Path, slug: str, *, words: Sequence[str] = (), jobs: int = 1
) -> tuple[dict[str, Any], int]:
    """Run what is not stored yet of the cells whose name contains one of `words` (all without), and what these need.

    A word that is itself a cell's name means that cell alone.

    Returns the results and how many cells failed; each failure is printed and holds up only what comes after it.
    ValueError for a word that no cell's name contains.
    """
    parts = sorted({part for name in cells for part in name.split("/")})
    for word in words:
        if not any(word in name for name in cells):
            raise ValueError(f"arms: no cell of {slug} has {word!r} in its name; {near(word, parts)}")
    store = _Store(Path(out), slug, list(cells))
    stored = store.names()
    wanted = [c for c in cells.values() if c.row is not None and c.name not in stored]
    wanted = [c for c in wanted if not words or any(c.name == w if w in cells else w in c.name for w in words)]
    todo: dict[str, Cell] = {}
    for cell in wanted:
        _collect(cell, cells, todo)
    failed: set[str] = set()
    running: dict[Future[dict[str, Any] | None], Cell] = {}
    with ThreadPoolExecutor(jobs) as pool:
        waiting = dict(todo)
        while waiting or running:
            for name in [n for n, c in waiting.items() if not any(a in waiting for a in c.after)]:
                if any(cell.name in waiting[name].after for cell in running.values()):
                    continue
                cell = waiting.pop(name)
                if any(a in failed for a in cell.after):
                    failed.add(name)
                    continue
                running[pool.submit(_finish, cell)] = cell
            done, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
            for future in done:
                cell = running.pop(future)
                try:
                    row = future.result()
                except (RuntimeError, OSError, ValueError) as error:
                    print(f"{cell.name}: {error}", file=sys.stderr, flush=True)
                    failed.add(cell.name)
                    continue
                if row is not None:
                    store.add(cell.name, row)
                    print(f"{cell.name}: {100 * row['success_rate']:.1f} % in {row['minutes']:.1f} min", flush=True)
    return store.load(), len(failed)


class _Store:
    """The results file: `rows` by cell, and `tables`, the same rows as lists."""

    def __init__(self, file: Path, slug: str, order: list[str]) -> None:
        self.file, self.slug, self._order = file, slug, order
        self._lock = threading.Lock()

    def load(self) -> dict[str, Any]:
        return read_json(self.file) if self.file.exists() else {"slug": self.slug, "tables": {}}

    def names(self) -> set[str]:
        return {row["cell"] for rows in self.load()["tables"].values() for row in rows}

    def add(self, name: str, row: dict[str, Any]) -> None:
        with self._lock:
            result = self.load()
            rows = result["tables"].setdefault(row.pop("table"), [])
            rows.append({"cell": name, **row})
            rows.sort(key=lambda r: self._order.index(r["cell"]) if r["cell"] in self._order else -1)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.file, result)


def _grid(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _collect(cell: Cell, cells: Mapping[str, Cell], todo: dict[str, Cell]) -> None:
    """`cell` and, before it, what it needs and is not finished in its folder."""
    for name in cell.after:
        if name not in todo and not is_finished(cells[name].run):
            _collect(cells[name], cells, todo)
    todo[cell.name] = cell


def _finish(cell: Cell) -> dict[str, Any] | None:
    """Run the command, going on in a half-done run folder; its row, or None if it has none."""
    if not is_finished(cell.run):
        again = ["resume=true"] if (cell.run / "manifest.json").exists() else []
        call([*shlex.split(cell.command), "quiet=true", *again])
    if cell.row is None:
        return None
    facts = {"table": cell.table, "setting": list(cell.setting), **cell.setting, **cell.row}
    return {**facts, "command": f"embodkd {cell.command}", **outcome(cell.run)}


def call(words: Sequence[str]) -> None:
    """Run `embodkd` with these words in a process of its own with one thread; RuntimeError with its last lines."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "embodkd.cli", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"embodkd {shlex.join(words)} failed:\n{done.stderr[-2000:]}")


def as_text(result: Mapping[str, Any]) -> str:
    """One line per setting of each table: successes of all its seeds in percent, their mean, minutes."""
    lines: list[str] = []
    for table, rows in result["tables"].items():
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            setting = [str(row[key]) for key in row["setting"] if key != "seed"]
            groups.setdefault(" ".join([*setting, row["cell"].rpartition("/")[2]]), []).append(row)
        lines.append(f"{table}: success in percent by seed, mean, minutes")
        width = max(map(len, groups), default=0)
        for name, group in groups.items():
            shares = [100 * row["success_rate"] for row in group]
            minutes = " ".join("-" if row["minutes"] is None else f"{row['minutes']:.1f}" for row in group)
            shown = " ".join(f"{share:5.1f}" for share in shares)
            lines.append(f"  {name:<{width}}  {shown}  | {sum(shares) / len(shares):5.1f} | {minutes}")
    return "\n".join(lines) or "no cell is stored yet"

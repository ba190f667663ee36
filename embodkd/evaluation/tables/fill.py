"""Fill the tables of a system: run what is not stored yet, say of each stored row whether it still holds.

A row carries the mark of what it came from. Where the mark is another than its cell would get now, the row stays, says
so under `stale`, and is made again only when that is asked for. The same mark lies beside each run folder, as
RUN.mark.json: a folder with another one is not used, but set aside.
"""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from embodkd.core.runs.files import write_json
from embodkd.core.runs.progress import progress
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.outcome import outcome
from embodkd.evaluation.tables.cell import Cell, Cells, Marks, Ready, Resolve, chosen, with_needed
from embodkd.evaluation.tables.held import held
from embodkd.evaluation.tables.machines import Jobs, machines
from embodkd.evaluation.tables.mark import Mark, staleness
from embodkd.evaluation.tables.order import in_order
from embodkd.evaluation.tables.rows import Row, Rows

_running: set[subprocess.Popen[str]] = set()


class _Former(TypedDict):
    digest: str
    finished: bool


def fill(
    cells: Cells, rows: Rows, resolve: Resolve, *, words: Sequence[str] = (), jobs: Jobs = 1, stale: bool = False
) -> int:
    """Run the cells that have no row yet and whose name contains one of `words` (all without), and what these need.

    jobs: how many side by side, or which cluster (`machines`); stale: also those whose row is stale. Returns how many
    failed; each failure is printed and holds up only what comes after it. ValueError for a word that no cell's name
    contains.
    """
    names = chosen(cells, words)
    marks = Marks(cells, resolve)
    check(cells, rows, marks)
    there = {name: row for name, row in rows.by_cell().items() if not (stale and "stale" in row)}
    wanted = [name for name in names if cells[name].facts is not None and name not in there]
    todo = with_needed(wanted, cells, lambda name: _finished(cells[name].run, marks.of(name)))

    def done(name: str, row: Row | None) -> None:
        if row is not None:
            rows.put(cells[name].table, row)
            minutes = "" if row["minutes"] is None else f" in {row['minutes']:.1f} min"
            print(f"{name}: {100 * row['success_rate']:.1f} %{minutes}", flush=True)
        bar.advance()

    def failed(name: str, error: Exception) -> None:
        if not isinstance(error, RuntimeError | OSError | ValueError):
            raise error
        print(f"{name}: {error}", file=sys.stderr, flush=True)

    # the marks of all are there before anything runs: what is edited from now on is refused below
    ready = {name: marks.ready(name) for name in todo}
    if not ready:
        return 0
    with progress(len(ready), "cells") as bar, machines(jobs, ThreadPoolExecutor) as (pool, width):
        try:
            return in_order(ready, lambda one: one.cell.after, Commands(cells), pool, width, done, failed)
        except KeyboardInterrupt:
            # Whoever is asked to stop asks the commands, which leave at their next checkpoint.
            for process in list(_running):
                process.terminate()
            raise


def check(cells: Cells, rows: Rows, marks: Marks) -> int:
    """Say under `stale` of every stored row why it no longer holds; how many rows changed by this."""

    def checked(row: Row) -> Row:
        name, former = row["cell"], row.get("mark")
        if name not in cells:
            reason: str | None = "there is no such cell any more"
        elif former is None:
            reason = "it has no mark: nothing says what it came from"
        else:
            reason = staleness(former, marks.of(name))
        kept = {key: value for key, value in row.items() if key != "stale"}
        return kept if reason is None else {**kept, "stale": reason}

    return rows.change(checked)


class Commands:
    """The Work of a system's table: each item runs the command of a cell, and gives its row."""

    def __init__(self, cells: Cells) -> None:
        self._cells, self.root = dict(cells), Path.cwd()
        self.place = self.root / os.path.commonpath([cell.run.parent for cell in cells.values()])

    def __call__(self, item: Ready, root: Path | None = None, patience_s: float = math.inf) -> Row | None:
        """Run the command, going on in a half-done run folder of the same mark; its row, or None if it has none."""
        root = root or self.root
        with held(root / item.cell.run, patience_s) as lock:
            return _row(item, root, lock)

    def reads(self, item: Ready) -> list[Path]:
        """The runs of all cells that it builds on."""
        needed = with_needed([item.cell.name], self._cells, lambda name: False)
        return [cell.run for cell in needed.values() if cell is not item.cell]

    def leaves(self, item: Ready) -> list[Path]:
        """Its run, then the mark that says that it is whole."""
        return [item.cell.run, _mark_file(item.cell.run)]

    def on_gpu(self, item: Ready) -> bool:
        """Whether its command says so."""
        return any(word.partition("=")[2] == "cuda" for word in shlex.split(item.cell.command))


def call(words: Sequence[str], root: Path | None = None, keep: Sequence[int] = ()) -> None:
    """Run `embodkd` with these words in a process of its own with one thread; RuntimeError with its last lines.

    root: the folder that it works in; keep: descriptors that it inherits.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "embodkd.cli", *words]
    # A group of its own: a terminal's SIGINT reaches this process alone, which asks the commands.
    with subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        pass_fds=keep,
    ) as process:
        _running.add(process)
        try:
            _, said = process.communicate()
        except KeyboardInterrupt:
            process.terminate()  # leaves at its next checkpoint
            raise
        finally:
            _running.discard(process)
    if process.returncode:
        raise RuntimeError(f"embodkd {shlex.join(words)} failed:\n{said[-2000:]}")


def _row(item: Ready, root: Path, lock: int) -> Row | None:
    cell, mark, run = item.cell, item.mark, root / item.cell.run
    if not _finished(run, mark):
        item.check()
        _make_room(cell, run, mark)
        file = _mark_file(run)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"finished": False, **mark})
        again = ["resume=true"] if (run / "manifest.json").exists() else []
        call([*shlex.split(cell.command), "quiet=true", *again], root, [lock])
        write_json(file, {"finished": True, **mark})
    if cell.facts is None:
        return None
    setting = dict(cell.setting or {})
    said = {"cell": cell.name, "setting": list(setting), **setting, **cell.facts, "command": f"embodkd {cell.said}"}
    return {**said, **outcome(run), "mark": mark}


def _finished(run: Path, mark: Mark) -> bool:
    """Whether a cell's folder holds what a command of this mark left at its end."""
    former = _former(run)
    return former is not None and former["finished"] and former["digest"] == mark["digest"] and run.exists()


def _make_room(cell: Cell, run: Path, mark: Mark) -> None:
    """Set a folder aside that came from something else, under a name that says from which mark."""
    former = _former(run)
    if not run.exists() or (former is not None and former["digest"] == mark["digest"]):
        return
    name = f"{run.name}.{former['digest'][:8] if former else 'unmarked'}"
    places = (run.with_name(f"{name}.{k}" if k else name) for k in range(10**6))
    aside = next(place for place in places if not place.exists())
    os.rename(run, aside)
    print(
        f"{cell.name}: {cell.run} came from something else; it is now {cell.run.with_name(aside.name)}",
        file=sys.stderr,
        flush=True,
    )


def _former(run: Path) -> dict[str, Any] | None:
    file = _mark_file(run)
    return read_json(file, _Former) if file.exists() else None


def _mark_file(run: Path) -> Path:
    return run.with_name(f"{run.name}.mark.json")

"""Fill the tables of a system: run what is not stored yet, say of each stored row whether it still holds.

A row carries the mark of what it came from. Where the mark is another than its cell would get now, the row stays, says
so under `stale`, and is made again only when that is asked for. The same mark lies beside each run folder, as
RUN.mark.json: a folder with another one is not used, but set aside.
"""

from __future__ import annotations

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
from embodkd.evaluation.tables.cell import Cell, Cells, Marks, Resolve, chosen, with_needed
from embodkd.evaluation.tables.mark import Mark, staleness
from embodkd.evaluation.tables.order import in_order
from embodkd.evaluation.tables.rows import Row, Rows

_running: set[subprocess.Popen[str]] = set()


class _Former(TypedDict):
    digest: str
    finished: bool


def fill(
    cells: Cells, rows: Rows, resolve: Resolve, *, words: Sequence[str] = (), jobs: int = 1, stale: bool = False
) -> int:
    """Run the cells that have no row yet and whose name contains one of `words` (all without), and what these need.

    stale: also those whose row is stale. Returns how many failed; each failure is printed and holds up only what comes
    after it. ValueError for a word that no cell's name contains.
    """
    names = chosen(cells, words)
    marks = Marks(cells, resolve)
    check(cells, rows, marks)
    there = {name: row for name, row in rows.by_cell().items() if not (stale and "stale" in row)}
    wanted = [name for name in names if cells[name].facts is not None and name not in there]
    todo = with_needed(wanted, cells, lambda name: _finished(cells[name], marks.of(name)))

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
    for name in todo:
        marks.of(name)
    with progress(len(todo), "cells", quiet=not todo) as bar, ThreadPoolExecutor(jobs) as pool:
        try:
            return in_order(todo, lambda cell: cell.after, lambda cell: _row(cell, marks), pool, jobs, done, failed)
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


def call(words: Sequence[str]) -> None:
    """Run `embodkd` with these words in a process of its own with one thread; RuntimeError with its last lines."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "embodkd.cli", *words]
    # A group of its own: a terminal's SIGINT reaches this process alone, which asks the commands.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as process:
        _running.add(process)
        try:
            _, said = process.communicate()
        finally:
            _running.discard(process)
    if process.returncode:
        raise RuntimeError(f"embodkd {shlex.join(words)} failed:\n{said[-2000:]}")


def _row(cell: Cell, marks: Marks) -> Row | None:
    """Run the command, going on in a half-done run folder of the same mark; its row, or None if it has none."""
    mark, file = marks.of(cell.name), _mark_file(cell)
    if not _finished(cell, mark):
        if edited := marks.edited(cell.name):
            raise RuntimeError(f"{edited[0]} was edited since the table began to be filled; begin again")
        _make_room(cell, mark)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"finished": False, **mark})
        again = ["resume=true"] if (cell.run / "manifest.json").exists() else []
        call([*shlex.split(cell.command), "quiet=true", *again])
        write_json(file, {"finished": True, **mark})
    if cell.facts is None:
        return None
    setting = dict(cell.setting or {})
    said = {"cell": cell.name, "setting": list(setting), **setting, **cell.facts, "command": f"embodkd {cell.said}"}
    return {**said, **outcome(cell.run), "mark": mark}


def _finished(cell: Cell, mark: Mark) -> bool:
    """Whether the cell's folder holds what a command of this mark left at its end."""
    former = _former(cell)
    return former is not None and former["finished"] and former["digest"] == mark["digest"] and cell.run.exists()


def _make_room(cell: Cell, mark: Mark) -> None:
    """Set a folder aside that came from something else, under a name that says from which mark."""
    former = _former(cell)
    if not cell.run.exists() or (former is not None and former["digest"] == mark["digest"]):
        return
    name = f"{cell.run.name}.{former['digest'][:8] if former else 'unmarked'}"
    places = (cell.run.with_name(f"{name}.{k}" if k else name) for k in range(10**6))
    aside = next(place for place in places if not place.exists())
    os.rename(cell.run, aside)
    print(f"{cell.name}: {cell.run} came from something else; it is now {aside}", file=sys.stderr, flush=True)


def _former(cell: Cell) -> dict[str, Any] | None:
    file = _mark_file(cell)
    return read_json(file, _Former) if file.exists() else None


def _mark_file(cell: Cell) -> Path:
    return cell.run.with_name(f"{cell.run.name}.mark.json")

"""Tables of many commands: each finished cell is stored at once, so that a second call goes on where one stopped."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from embodkd.core.runs.files import write_json
from embodkd.evaluation import chains, outcome

SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Cell:
    """One `embodkd` command; `name` is its key in the results, `run` the run folder that it works in."""

    name: str
    command: str
    run: Path


AnyCell = TypeVar("AnyCell", bound=Cell)


class Table:
    """The stored rows of a JSON file, by cell."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()

    def load(self) -> dict[str, Any]:
        """The rows stored so far."""
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def store(self, name: str, row: dict[str, Any]) -> None:
        """Add a row, whole or not at all."""
        with self._lock:
            rows = self.load() | {name: row}
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.file, dict(sorted(rows.items())))

    def missing(self, cells: Iterable[AnyCell], words: list[str]) -> list[AnyCell]:
        """The cells that are not stored; with `words`, those whose name contains one."""
        stored = self.load()
        return [c for c in cells if c.name not in stored and (not words or any(word in c.name for word in words))]

    def fill(self, cells: Iterable[AnyCell], finish: Callable[[AnyCell], dict[str, Any]], jobs: int) -> int:
        """Store `finish(cell)` of every cell, `jobs` side by side; returns how many failed, each printed."""

        def attempt(cell: AnyCell) -> int:
            try:
                row = finish(cell)
            except (RuntimeError, FileNotFoundError, ValueError) as error:
                print(f"{cell.name}: {error}", file=sys.stderr, flush=True)
                return 1
            self.store(cell.name, row)
            share = (
                f"{100 * row['success_rate']:.1f} % in {row['minutes']:.1f} min" if "success_rate" in row else "done"
            )
            print(f"{cell.name}: {share}", flush=True)
            return 0

        with ThreadPoolExecutor(jobs) as pool:
            return sum(pool.map(attempt, cells))


def call(cell: Cell, resume: bool = True) -> None:
    """Run a cell's command with one torch thread, going on in a half-done run folder; RuntimeError if it fails."""
    words = [*shlex.split(cell.command)[1:], "torch_threads=1", "quiet=true"]
    chains.call(words + ["resume=true"] if resume and cell.run.exists() else words)


def judged(cell: Cell) -> dict[str, Any]:
    """The row of a finished training."""
    return {**outcome.judged(cell.run), "command": cell.command}


def arguments(doc: str | None) -> argparse.Namespace:
    """The command line that such tables share: words, --jobs and --show."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only cells whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=1, help="cells side by side")
    parser.add_argument("--show", action="store_true", help="print the stored table and stop")
    return parser.parse_args()

"""The rows of a table in its file: whole after every change, one line per nested value that nobody reads in lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from embodkd.core.runs.files import write_atomic
from embodkd.evaluation.stored import read_system
from embodkd.evaluation.tables.held import held

Row = dict[str, Any]
# Long, and of interest to programs only.
_ON_ONE_LINE = ("mark", "manifest", "curve", "failures", "ci95", "setting", "signed")


class Rows:
    """`{"slug": ..., "tables": {table: [row, ...]}}` in `file`; a row says its `cell`, and `order` is that of cells.

    Several processes may add to one file: none loses what another one added.
    """

    def __init__(self, file: str | Path, slug: str, order: Iterable[str] = ()) -> None:
        self.file, self.slug = Path(file), slug
        self._place = {name: place for place, name in enumerate(order)}

    def load(self) -> dict[str, Any]:
        """What is stored so far."""
        return read_system(self.file) if self.file.exists() else {"slug": self.slug, "tables": {}}

    def by_cell(self) -> dict[str, Row]:
        """The stored rows by the names of their cells."""
        return {row["cell"]: row for rows in self.load()["tables"].values() for row in rows}

    def put(self, table: str, row: Row) -> None:
        """Add a row, or put it in the place of the one of its cell."""
        with held(self.file):
            result = self.load()
            rows = result["tables"].setdefault(table, [])
            rows[:] = [other for other in rows if other["cell"] != row["cell"]] + [row]
            # rows of cells that are no more stay in front
            rows.sort(key=lambda r: self._place.get(r["cell"], -1))
            self._write(result)

    def change(self, function: Callable[[Row], Row]) -> int:
        """Put `function(row)` in the place of every row; how many it changed."""
        if not self.file.exists():
            return 0
        with held(self.file):
            result, changed = self.load(), 0
            for rows in result["tables"].values():
                for place, row in enumerate(rows):
                    rows[place] = function(row)
                    changed += rows[place] != row
            if changed:
                self._write(result)
            return changed

    def _write(self, result: dict[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.file, as_lines(result, _ON_ONE_LINE) + "\n")


def as_lines(value: Any, on_one_line: Iterable[str]) -> str:
    """`value` as indented JSON, what stands under one of these keys on one line, and lists of numbers too."""
    kept = set(on_one_line)

    def lines(value: Any, key: str, margin: str) -> str:
        inner = f"{margin} "
        numbers = isinstance(value, list) and all(isinstance(item, int | float | None) for item in value)
        if key in kept or numbers or not isinstance(value, dict | list) or not value:
            return json.dumps(value)
        if isinstance(value, dict):
            parts = [f"{json.dumps(str(k))}: {lines(v, str(k), inner)}" for k, v in value.items()]
            return "{\n" + ",\n".join(inner + part for part in parts) + f"\n{margin}}}"
        return "[\n" + ",\n".join(inner + lines(item, "", inner) for item in value) + f"\n{margin}]"

    return lines(value, "", "")

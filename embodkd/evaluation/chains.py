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
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embodkd.core.config.schema import build
from embodkd.core.runs.reading import read_yaml
from embodkd.evaluation.tables.cell import Cell


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
    content = read_yaml(file)
    usual = Path("runs", content["slug"])
    runs = Path(runs or usual)
    cells: dict[str, Cell] = {}
    for table_name, raw in content["tables"].items():
        table = build(_Table, raw, f"{file}: tables.{table_name}")
        kinds = {name: build(_Cell, c, f"{file}: tables.{table_name}.cells.{name}") for name, c in table.cells.items()}
        for setting in _grid(table.grid):
            chosen = dict(setting)
            for key, choices in table.set.items():
                chosen |= choices.get(setting[key], {})
            place = "/".join(str(value) for value in setting.values())
            if twice := sorted(chosen.keys() & kinds.keys()):
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
                # a cell that is not named there could change without this one's row becoming stale
                if unsaid := sorted(_braces(kind.command) & kinds.keys() - set(kind.after)):
                    raise ValueError(f"{where}: its command names {{{unsaid[0]}}}; say so in after, too")
                try:
                    command, said = (
                        kind.command.format(run=root / place / name, **{k: root / place / k for k in kinds}, **chosen)
                        for root in (runs, usual)
                    )
                except KeyError as error:
                    raise ValueError(f"{where}.command: nothing is called {{{error.args[0]}}}") from None
                after = tuple(f"{place}/{other}" for other in kind.after)
                full = f"{place}/{name}"
                cell = Cell(full, table_name, command, runs / full, said, after, setting, kind.row)
                # a later table may share cells of a former one: they are the same only if their command is
                former = cells.setdefault(cell.name, cell)
                if former.command != cell.command:
                    raise ValueError(f"{where}: {cell.name} stands in table {former.table} with another command")
    return cells


def _grid(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def _braces(command: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(command) if name}


def listing(result: Mapping[str, Any]) -> str:
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
            minutes = " ".join("-" if row.get("minutes") is None else f"{row['minutes']:.1f}" for row in group)
            shown = " ".join(
                f"{share:5.1f}{'*' if 'stale' in row else ''}" for share, row in zip(shares, group, strict=True)
            )
            lines.append(f"  {name:<{width}}  {shown}  | {sum(shares) / len(shares):5.1f} | {minutes}")
    for row in (row for rows in result["tables"].values() for row in rows if "ablation" in row):
        lines.append(f"{row['cell']}: {100 * row['success_rate']:.0f} % with all sensors")
        for spoilt in row["ablation"]["rows"]:
            what = f"{spoilt['group']} {spoilt['way']}"
            lines.append(f"  {what}: {100 * spoilt['success_rate']:.0f} %  {spoilt['verdict']}")
    stale = [row for rows in result["tables"].values() for row in rows if "stale" in row]
    if stale:
        lines.append(
            f"* stale: {len(stale)} rows came from something else than they would now; stale=remake makes them anew"
        )
        lines += [f"  {reason}: {count}" for reason, count in Counter(row["stale"] for row in stale).most_common(5)]
    return "\n".join(lines) or "no cell is stored yet"

"""Measure, print the table, store it in results/benchmarks.json; lines that are not measured now stay as they are."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, used_by_others
from embodkd.core.runs.memory import keep_freed_memory

SUBJECTS = ("step", "camera", "cli", "report", "latency", "loop", "language", "processes", "demo", "ppo")
ASIDE = ("peers", "trl")  # asked for by name only: they need environments of their own


def main() -> None:
    """Run the subjects named on the command line, all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "subjects",
        nargs="*",
        metavar="SUBJECT",
        help=f"some of {', '.join(SUBJECTS + ASIDE)}; default: all but the last two",
    )
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks.json"), help="where the table is kept")
    parser.add_argument("--seeds", type=int, default=7, metavar="N", help="trainings of each contender (ppo)")
    arguments = parser.parse_args()
    unknown = set(arguments.subjects) - {*SUBJECTS, *ASIDE}
    if unknown:
        parser.error(f"unknown subject {', '.join(sorted(unknown))}; choose from {', '.join(SUBJECTS + ASIDE)}")
    # one thread per library call: the contenders are compared per CPU-second, and oversubscription would favour one
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # as the command line does; all contenders share the process, so none is favoured
    keep_freed_memory()
    stored: dict[str, Any] = {}
    if arguments.out.exists():
        stored = {line["name"]: line for line in json.loads(arguments.out.read_text())["lines"]}
    for subject in arguments.subjects or SUBJECTS:
        options = {"seeds": range(arguments.seeds)} if subject == "ppo" else {}
        module, before = importlib.import_module(f"benchmarks.{subject}"), used_by_others()
        measured = {line.name: line.record() for line in module.lines(**options)}
        manifest = _manifest() | {"used_by_others": [before, used_by_others()]}
        stored = {name: line for name, line in stored.items() if line["command"] != module.COMMAND}
        stored |= {name: line | {"manifest": manifest} for name, line in measured.items()}
        _write(arguments.out, list(stored.values()))
    _print(list(stored.values()))


def _manifest() -> dict[str, Any]:
    from embodkd.core.runs.manifest import git_commit, now, versions

    return {
        "git_commit": git_commit(),
        "time": now(),
        "versions": versions(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
    }


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    from embodkd.core.runs.files import write_atomic

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"lines": lines}, indent=1) + "\n")


def _print(lines: list[dict[str, Any]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title="medians with 95 % intervals; the CPU time of all processes counts", box=SIMPLE)
    for column in ("what", "median", "95 %", "target", "unit", "ok", "machine"):
        table.add_column(column, justify="left" if column in ("what", "unit") else "right", no_wrap=True)
    for line in lines:
        digits = 0 if line["value"] >= 100 else 2
        low, high = line["interval"]
        table.add_row(
            line["name"],
            f"{line['value']:.{digits}f}",
            f"{low:.{digits}f}..{high:.{digits}f}",
            "" if line["target"] is None else f"{line['sense']} {line['target']:g}",
            line["unit"],
            "" if line["target"] is None else "[green]yes[/]" if line["reached"] else "[red]no[/]",
            machine(line["manifest"].get("used_by_others")),
        )
    Console().print(table)


if __name__ == "__main__":
    main()

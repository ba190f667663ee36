"""Sign stored results anew after an edit that left every weight equal, as `benchmarks.same` has just shown.

A row of a system, or a table of a method, that is stale only because the sources that it ran were edited gets the mark
that it would get now, and says under `signed` between which commits nothing changed. One whose config, versions or
command differ, or whose mark is not the one that the old commit would have given, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.same_runs import Commands, needed
from embodkd.cli.keys import options
from embodkd.core.runs.manifest import now
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.reproduce import write
from embodkd.evaluation.tables.mark import changes
from embodkd.evaluation.tables.rows import Rows

# What a side says of its marks; run with the sources of that side.
ASKED = """
import json, sys
from embodkd.cli.reproduce import marks
json.dump({slug: marks(slug) for slug in json.loads(sys.argv[1])}, sys.stdout)
"""
Marks = Mapping[str, Any]
"""Of a system: cell -> mark; of a table: {"config": ..., "sources": ...}."""


def sign(file: Path, old: Marks, new: Marks, commits: tuple[str, str]) -> tuple[int, int]:
    """(how many results of the file were signed, how many there are) after nothing changed between two commits.

    old, new: the marks that each side would give.
    """
    note = {"equal": list(commits), "date": now()}
    result = read_json(file)
    if "tables" not in result:
        mine = {"config": result.get("config"), "sources": result.get("sources")}
        signed = mine == old != new and old["config"] == new["config"]
        if signed:
            write({**result, "sources": new["sources"], "signed": note}, file)
        return int(signed), 1

    def anew(row: dict[str, Any]) -> dict[str, Any]:
        name, mark = row["cell"], row.get("mark")
        held = name in old and name in new and mark is not None and mark["digest"] == old[name]["digest"]
        if not held or mark["digest"] == new[name]["digest"] or not same_but_sources(name, old, new):
            return row
        return {**{key: value for key, value in row.items() if key != "stale"}, "mark": new[name], "signed": note}

    rows = Rows(file, result["slug"])
    return rows.change(anew), len(rows.by_cell())


def rests_on(marks: Marks, runs: Commands) -> set[str]:
    """The runs that must be equal before results with these marks hold.

    Of a table those of its methods and those of its networks (an MLP is what the others have), else all.
    """
    if not {"config", "sources"} <= marks.keys():
        return set(runs)
    trained = [*marks["config"]["arms"].values(), *marks["config"].get("teachers", {}).values()]
    methods = {method["name"] for arm in trained if (method := arm.get("method"))}
    networks = {arm["model"]["name"] for arm in trained if arm.get("model")}
    names = [
        name
        for name, command in runs.items()
        if name in {*methods, "table"} or any(f"model={network} " in command for network in networks)
    ]
    for name in names:  # grows while it is read
        names += [other for other in needed(runs[name], runs) if other not in names]
    return set(names)


def same_but_sources(name: str, old: Marks, new: Marks) -> bool:
    """Whether a cell and all that it comes after differ in nothing but sources."""
    one, other = old[name], new.get(name)
    if other is None or one["after"].keys() != other["after"].keys():
        return False
    equal = not changes(one["config"], other["config"]) and one["versions"] == other["versions"]
    return equal and all(same_but_sources(before, old, new) for before in one["after"])


def slug_of(file: Path) -> str | None:
    """Which table a file of results is of; None if `embodkd reproduce` fills no such."""
    slug = read_json(file).get("slug")
    return slug if slug in (*options("reproduce"), *options("systems")) else None

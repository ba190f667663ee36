"""How far each method is: what its stored reproduction tables say about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embodkd.evaluation.stored import read_table

_SPELT = {"gain": "gain over", "loss": "loss against", "no_gain": "no gain over", "undecided": "undecided against"}


def stored_tables(folder: str | Path = "results") -> list[dict[str, Any]]:
    """The results of `embodkd reproduce` in a folder, by slug; other files in it are none of its business."""
    return [result for result in _stored(folder) if "comparisons" in result]


def stored_systems(folder: str | Path = "results") -> list[dict[str, Any]]:
    """The rows of whole systems in a folder, as `{slug, tables}`."""
    return [result for result in _stored(folder) if "tables" in result]


def _stored(folder: str | Path) -> list[dict[str, Any]]:
    found = map(read_table, sorted(Path(folder).glob("*.json")))
    return [result for result in found if result is not None]


def status_of(method: str, tables: Sequence[Mapping[str, Any]], own_table: str = "") -> dict[str, Any]:
    """`status` in words, and what it rests on: `table`, `arm`, `verdicts` against others, `claims` held and in all.

    Every method's identities are held by tests. A table in which one of its arms has the role "method" adds verdicts
    against the student alone and the baselines, and against ablations if it loses to them. `own_table` goes before
    others, and of several arms the one with the method's name counts, or the first. A table that says under `stale` why
    it is not what its file says now is called stale.
    """
    for table in sorted(tables, key=lambda table: table["slug"] != own_table):
        arms = {name: arm for name, arm in table["arms"].items() if arm.get("role") == "method"}
        own = [name for name, arm in arms.items() if (arm.get("method") or {}).get("name") == method]
        if own:
            return _of_table(table, method if method in own else own[0])
    return {"status": "identities held", "table": None, "arm": None, "verdicts": {}, "claims": None}


def _of_table(table: Mapping[str, Any], arm: str) -> dict[str, Any]:
    plain = [name for name, other in table["arms"].items() if other["role"] in ("student_alone", "baseline")]
    verdicts = {
        one["against"]: one["verdict"]
        for one in table["comparisons"]
        if one["arm"] == arm and (one["against"] in plain or one["verdict"] == "loss")
    }
    held = sum(check["passed"] for check in table["checks"])
    words = [f"{_SPELT[verdict]} {name}" for name, verdict in verdicts.items()]
    return {
        "status": ", ".join(
            [
                "stale table" if table.get("stale") else "table stored",
                *words,
                f"{held} of {len(table['checks'])} claims hold",
            ]
        ),
        "table": table["slug"],
        "arm": arm,
        "verdicts": verdicts,
        "claims": [held, len(table["checks"])],
    }

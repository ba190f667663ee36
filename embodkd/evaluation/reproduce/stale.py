"""Whether a stored table came from what its file says now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embodkd.evaluation.reproduce.spec import Reproduction
from embodkd.evaluation.tables.mark import changes
from embodkd.evaluation.tables.sources import sources as source_files

RUNS_A_CELL = "embodkd.evaluation.reproduce.cells:Cells"
"""What runs, whatever the method."""


def stale(result: Mapping[str, Any], table: Reproduction, *, sources: bool = False) -> str | None:
    """Why the stored `result` is not what `table` would be filled with now, None if it is.

    More seeds than the table has are no difference. A `table` as it is written will do. sources: look at the source
    files that its cells run, too.
    """
    if "config" not in result:
        return "it does not say which config filled it"
    stored, now = dict(result["config"]), table.config()
    now["better"] = now["better"] or stored["better"]
    if set(now["seeds"]) <= set(result["seeds"]):
        stored["seeds"] = now["seeds"]
    if changed := changes(stored, now):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return f"filled by another config: {'; '.join(changed[:3])}{more}"
    if sources and result["sources"] != sources_of(table):
        return "filled by other sources"
    return None


def sources_of(table: Reproduction) -> str:
    """A digest of the sources that its cells run."""
    return source_files().digest([RUNS_A_CELL], table.config())

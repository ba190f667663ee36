"""Whether a stored table came from what its file says now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embodkd.evaluation.reproduce.run import sources_of
from embodkd.evaluation.reproduce.spec import Reproduction
from embodkd.evaluation.tables.mark import changes


def stale(result: Mapping[str, Any], table: Reproduction, *, sources: bool = False) -> str | None:
    """Why the stored `result` is not what `table` would be filled with now, None if it is.

    More seeds than the table has are no difference. sources: look at the source files that its cells run, too.
    """
    if "config" not in result:
        return "it does not say which config filled it"
    stored, now = dict(result["config"]), table.config()
    if set(now["seeds"]) <= set(result["seeds"]):
        stored["seeds"] = now["seeds"]
    if changed := changes(stored, now):
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return f"filled by another config: {'; '.join(changed[:3])}{more}"
    if sources and result["sources"] != sources_of(table):
        return "filled by other sources"
    return None

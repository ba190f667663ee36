"""`embodkd report`."""

from __future__ import annotations

from embodkd.cli.common import needed


def report(run: str | None, out: str | None) -> int:
    """Write the report of a run, of a study, of a folder with any of them, or of a file of tables."""
    from embodkd.evaluation.report import write_report, write_tables

    where = needed(run, "run", "embodkd report runs/demo")
    print(write_tables(where, out) if where.endswith(".json") else write_report(where, out))
    return 0

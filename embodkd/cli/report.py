"""`embodkd report`."""

from __future__ import annotations

from embodkd.cli.common import needed


def report(run: str | None, out: str | None) -> int:
    """Write the report of a run, or of a folder with several."""
    from embodkd.evaluation.report import write_report

    print(write_report(needed(run, "run", "embodkd report runs/demo"), out))
    return 0

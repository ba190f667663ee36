"""The report of a fair comparison: its arms side by side, and above them what each came to against the one arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embodkd.evaluation.report.run import write_report
from embodkd.evaluation.trial import ArmResult, Trial


def write_study(trial: Trial, arms: Sequence[ArmResult], run: str | Path, out: str | Path | None = None) -> Path:
    """Write report.html for the folder of a study whose arms are judged; ``out``: a file, else in that folder."""
    told = []
    for arm in arms:
        if arm.comparison is not None:
            pair = f"{arm.name} against {trial.against}"
            told.append({"pair": pair, "short": arm.verdict, "rest": f", {arm.numbers}"})
    return write_report(run, out, title=trial.title, told=told)

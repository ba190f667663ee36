"""metrics.jsonl: what a run logged, one line per call of `RunFolder.log`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from embodkd.core.config.ranges import NotNegative, Whole
from embodkd.core.runs.reading import read_lines


class _Known(TypedDict):
    step: Whole


class _Line(_Known, total=False):
    time_s: NotNegative


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a file; [] if there is none, ValueError for one that says anything but step, time and scalars."""
    read_lines(path, _Line)
    return read_lines(path, dict[str, float | str | bool | None])

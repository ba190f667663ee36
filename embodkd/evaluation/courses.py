"""A picture of recorded actions and of those that a policy would have given, dimension by dimension."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core.runs.files import write_atomic
from embodkd.core.sources.action import ActionFacts
from embodkd.evaluation.imitation import Course

_SHOWN = 3  # episodes: more make lines too short to follow
_INK, _RECORDED, _GIVEN = "#30343f", "#9aa3b5", "#d1495b"


def write_courses(path: str | Path, courses: Sequence[Course], action: ActionFacts, hz: float | None) -> Path:
    """Draw the first episodes one after the other, a panel per dimension, over seconds (or steps without a rate)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = list(courses[:_SHOWN])
    columns = 1 if action.size < 4 else 2
    rows = -(-action.size // columns)
    figure = Figure(figsize=(6.4 * columns, 1.7 * rows + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    panels = np.atleast_1d(figure.subplots(rows, columns, sharex=True, squeeze=False)).ravel()
    for panel in panels[action.size :]:
        panel.set_visible(False)
    for a, panel in enumerate(panels[: action.size]):
        _draw(panel, shown, a, hz)
        panel.set_title(action.names[a], fontsize=9, loc="left", color=_INK)
        panel.set_ylabel(action.units[a] or "as recorded", fontsize=8, color=_INK)
    for panel in panels[max(0, action.size - columns) : action.size]:
        panel.set_xlabel("seconds" if hz else "steps", fontsize=8, color=_INK)
        panel.tick_params(labelbottom=True)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    figure.suptitle("; ".join(course.name for course in shown), fontsize=9, x=0.01, ha="left", color=_INK)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    write_atomic(path, stream.getvalue())
    return Path(path)


def _draw(panel: Any, shown: Sequence[Course], a: int, hz: float | None) -> None:
    at = 0.0
    for k, course in enumerate(shown):
        time_T = at + np.arange(len(course.recorded_TA)) / (hz or 1.0)
        label = ("recorded", "the policy") if k == 0 else (None, None)
        panel.plot(time_T, course.recorded_TA[:, a], color=_RECORDED, linewidth=2.4, label=label[0])
        panel.plot(time_T, course.given_TA[:, a], color=_GIVEN, linewidth=1.0, label=label[1])
        at = float(time_T[-1]) + 1.0 / (hz or 1.0)
        if k + 1 < len(shown):
            panel.axvline(at, color=_INK, linewidth=0.5, linestyle=":")
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)

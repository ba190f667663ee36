"""Which logged scalars a section shows, each as one chart with a line per setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embodkd.evaluation.report.charts import curve, number
from embodkd.evaluation.report.members import Member
from embodkd.evaluation.report.sections import OTHER, Section
from embodkd.evaluation.report.series import Line, bounds, line

if TYPE_CHECKING:
    from markupsafe import Markup

_ALL_POINTS, _MOST_POINTS, _FEWEST_POINTS = 2400, 300, 50
_SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Plot:
    """One chart: its title, its legend (label, colour), a note on what it leaves out, and the drawing."""

    title: str
    legend: list[tuple[str, str]]
    note: str
    svg: Markup


def plots(section: Section) -> tuple[list[Plot], list[Plot]]:
    """Charts of metrics.jsonl: the telling ones, and all others."""
    shown, rest = [], []
    for x_label in dict.fromkeys(_x_label(run) for run in section.runs):
        telling, others = _telling([run for run in section.runs if _x_label(run) == x_label])
        shown += [_plot(section, key, x_label) for key in telling]
        rest += [_plot(section, key, x_label) for key in others]
    return [plot for plot in shown if plot], [plot for plot in rest if plot]


def _x_label(run: Member) -> str:
    return "control steps" if run.policy and not run.policy.get("lineage", {}).get("teacher") else "updates"


def _telling(runs: Sequence[Member]) -> tuple[list[str], list[str]]:
    """Logged keys: up to two success shares, a return and a loss; and the others."""
    keys = list(dict.fromkeys(k for run in runs for row in run.metrics for k in row if k not in ("step", "time_s")))
    success = sorted(
        (key for key in keys if "success" in key), key=lambda key: ("evaluation" not in key, "student" not in key)
    )[:2]
    # A policy gradient's own loss says nothing about learning; the value's and the imitation's do.
    losses = [k for k in keys if "value_loss" in k or (k.startswith("student/") and not k.endswith("grad_norm"))]
    returns = [key for key in keys if "return" in key or "rew" in key]
    rest = [*returns[:1], *(losses or [key for key in keys if "loss" in key])[:1]]
    telling = [*success, *(key for key in rest if key not in success)]
    return telling, [key for key in keys if key not in telling]


def _plot(section: Section, key: str, x_label: str) -> Plot | None:
    found = []
    for setting in section.settings:
        seeds = [points for run in setting.runs if _x_label(run) == x_label and (points := run.series(key))]
        if seeds:
            found.append((setting, seeds))
    if not found:
        return None
    every = [points for _, seeds in found for points in seeds]
    share = "success" in key and all(0 <= y <= 1 for points in every for _, y in points)
    within = _SHARE if share else bounds(every)
    most = max(_FEWEST_POINTS, min(_MOST_POINTS, _ALL_POINTS // len(found)))
    drawn = [line(setting.label, setting.colour, seeds, within, most) for setting, seeds in found]
    # What has no colour of its own lies below what has.
    lines = sorted((one for one in drawn if one), key=lambda one: one.colour == OTHER)
    if not lines:
        return None
    legend = [(one.label, one.colour) for one in lines if one.colour != OTHER]
    if others := len(lines) - len(legend):
        legend.append((f"{others} others", OTHER))
    svg = curve(lines, title=key, x_label=x_label, y_label=_unit(key), share=share)
    return Plot(f"Success while learning: {key}" if share else key, legend, _beyond(lines, x_label), svg)


def _unit(key: str) -> str:
    """What the upright axis counts."""
    if "success" in key:
        return "share of episodes"
    if "return" in key or "rew" in key:
        return "sum of rewards of an episode"
    return key.rpartition("/")[2].replace("_", " ")


def _beyond(lines: Sequence[Line], x_label: str) -> str:
    """A sentence on values that the axis leaves out."""
    spikes = [spike for one in lines for spike in one.spikes]
    if not spikes:
        return ""
    x, y = max(spikes, key=lambda spike: abs(spike[1]))
    many = "1 value lies" if len(spikes) == 1 else f"{len(spikes)} values lie"
    return f"{many} beyond the axis and {'is' if len(spikes) == 1 else 'are'} marked: {number(y)} at {x:,.0f} {x_label}"

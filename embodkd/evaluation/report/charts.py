"""A line chart as inline SVG: no script, no picture files, colours and fonts from the page's own variables."""

# Drawn by hand: leather fixes sizes, fonts and greys that a dark page or a phone cannot change, pygal brings a script
# and a licence that this package cannot pass on, plotly and vega some megabytes of script.
#
# Lines stretch to any width and height, in a drawing of their own inside; texts and dots stand beside them by per cent,
# so that letters are as large on a phone as on a screen.

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from embodkd.evaluation.report.series import Line

if TYPE_CHECKING:
    from markupsafe import Markup

_SIDE = 1000
_MOST_BANDS, _MOST_MARKS, _MOST_TOLD = 6, 40, 6


def curve(lines: Sequence[Line], *, title: str, x_label: str, y_label: str, share: bool = False) -> Markup:
    """A chart of ``lines``, the first on top; "" if there are none.

    ``share`` fixes the y axis to 0..1 and writes it as per cent. What it shows is told in words, too.
    """
    from markupsafe import Markup

    if not lines:
        return Markup()
    lows, highs = (min(one.low_P.min() for one in lines), max(one.high_P.max() for one in lines))
    y_ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if share else _ticks(min(0.0, lows), highs)
    x_low, x_high = min(0.0, *(one.x_P[0] for one in lines)), max(one.x_P[-1] for one in lines)
    plane = _Plane(x_low, x_high, min(y_ticks[0], lows), max(y_ticks[-1], highs))
    told = escape(_told(lines, title, x_label, share))
    parts = [f'<svg class="curve" role="img"><title>{told}</title>']
    for tick in y_ticks:
        y, text = plane.up(tick), f"{100 * tick:.0f} %" if share else number(tick)
        parts.append(f'<line class="rule" x1="0" x2="100%" y1="{y:.2f}%" y2="{y:.2f}%"/>')
        parts.append(f'<text class="tick" x="-8" y="{y:.2f}%" dy=".35em" text-anchor="end">{text}</text>')
    for tick in _ticks(x_low, x_high):
        if x_low <= tick <= x_high:
            place = f'x="{plane.across(tick):.2f}%" y="100%" dy="1.6em" text-anchor="middle"'
            parts.append(f'<text class="tick" {place}>{number(tick)}</text>')
    parts.append(f'<text class="tick" x="100%" y="100%" dy="3em" text-anchor="end">{escape(x_label)}</text>')
    parts.append(f'<text class="tick" x="-46" y="0" dy="-1.1em">{escape(y_label)}</text>')
    parts.append(f'<svg viewBox="0 0 {_SIDE} {_SIDE}" preserveAspectRatio="none">')
    for one in reversed(lines):
        parts += _drawn(one, plane, len(lines) <= _MOST_BANDS)
    parts.append("</svg>")
    for one in reversed(lines):
        x, y = plane.across(one.x_P[-1]), plane.up(one.mean_P[-1])
        parts.append(f'<circle class="dot" cx="{x:.2f}%" cy="{y:.2f}%" r="3.5" style="--line:var({one.colour})"/>')
        parts += _marks(one, plane)
    return Markup("".join([*parts, "</svg>"]))


class _Plane:
    """Where numbers lie, in per cent from the left and from the top."""

    def __init__(self, x_low: float, x_high: float, y_low: float, y_high: float) -> None:
        self.x_low, self.y_low, self.y_high = x_low, y_low, y_high
        self.width, self.height = (x_high - x_low) or 1.0, (y_high - y_low) or 1.0

    def across(self, x: float) -> float:
        return 100 * (x - self.x_low) / self.width

    def up(self, y: float) -> float:
        return 100 * (self.y_high - y) / self.height

    def path(self, x_P: np.ndarray, y_P: np.ndarray) -> str:
        across = np.rint(_SIDE * (x_P - self.x_low) / self.width).astype(int)
        down = np.rint(_SIDE * (self.y_high - y_P) / self.height).astype(int)
        return " ".join(f"{x},{y}" for x, y in zip(across.tolist(), down.tolist(), strict=True))


def _drawn(one: Line, plane: _Plane, with_band: bool) -> Iterator[str]:
    colour = f'style="--line:var({one.colour})"'
    if with_band and one.has_band:
        there, back = plane.path(one.x_P, one.high_P), plane.path(one.x_P[::-1], one.low_P[::-1])
        yield f'<polygon class="area" points="{there} {back}" {colour}/>'
    yield f'<polyline class="line" points="{plane.path(one.x_P, one.mean_P)}" {colour}/>'


def _marks(one: Line, plane: _Plane) -> Iterator[str]:
    """A spike as an arrow at the edge that it went over; of many, those that stand apart."""
    places = {}
    for x, y in one.spikes:
        above = y > plane.y_high
        places[round(plane.across(x) * _MOST_MARKS / 100), above] = (x, above)
    for x, above in places.values():
        place = f'x="{min(max(plane.across(x), 0.0), 100.0):.2f}%" y="{0 if above else 100}%" dy=".35em"'
        arrow = "▲" if above else "▼"
        yield f'<text class="spike" {place} text-anchor="middle" style="--line:var({one.colour})">{arrow}</text>'


def _told(lines: Sequence[Line], title: str, x_label: str, share: bool) -> str:
    """What the chart shows, in words and numbers."""

    def text(value: float) -> str:
        return f"{100 * value:.0f} %" if share else number(value)

    ends = sorted(lines, key=lambda one: float(one.mean_P[-1]))
    if len(lines) > _MOST_TOLD:
        low, high = ends[0], ends[-1]
        said = f"{len(lines)} lines that end at {text(low.mean_P[-1])} ({low.label}) to {text(high.mean_P[-1])}"
        return f"{title} over {x_label}: {said} ({high.label})"
    each = [f"{one.label} from {text(one.mean_P[0])} to {text(one.mean_P[-1])}" for one in lines]
    return f"{title} over {x_label}: {'; '.join(each)}"


def _ticks(low: float, high: float) -> list[float]:
    """About four round numbers that cover low to high."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    return [step * n for n in range(first, math.ceil(high / step - 1e-9) + 1)]


def number(value: float) -> str:
    """A number in few letters: 0.125, 25k, 3M, 1e9."""
    if value == 0:
        return "0"
    if abs(value) >= 1e9:
        return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    if abs(value) >= 1e3:
        return f"{value / 1e3:.4g}k"
    return f"{value:.3g}"

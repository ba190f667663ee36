"""A line chart as inline SVG: no script, no picture files, colours and fonts from the page's own variables."""

# Drawn by hand: leather fixes sizes, fonts and greys that a dark page or a phone cannot change, pygal brings a script
# and a licence that this package cannot pass on, plotly and vega some megabytes of script.

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

_WIDTH, _HEIGHT = 560, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 30
_MOST_POINTS = 300


Points = Sequence[tuple[float, float]]


def curve(series: Mapping[str, Points], *, colour: str, x_label: str, share: bool = False) -> Markup:
    """A line chart of named series of (x, y), the first a full line, the others dotted; "" if there is nothing to draw.

    ``colour`` is a CSS variable; ``share`` fixes the y axis to 0..1 and writes it as percent.
    """
    from markupsafe import Markup

    drawn = {name: _thin(points) for name, points in series.items() if len(points) > 1}
    if not drawn:
        return Markup()
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    y_ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if share else _ticks(min(0.0, *ys), max(ys))
    x_low, x_high = min(0.0, min(xs)), max(xs)
    y_low, y_high = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / ((x_high - x_low) or 1.0)
        up = (y - y_low) / ((y_high - y_low) or 1.0)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" style="--line:var({colour})">']
    parts.append(f"<title>{escape(', '.join(drawn))}</title>")
    for tick in y_ticks:
        _, y = at(x_low, tick)
        label = f"{100 * tick:.0f} %" if share else _number(tick)
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for tick in _ticks(x_low, x_high)[1:]:
        if tick <= x_high:
            x, _ = at(tick, y_low)
            place = f'x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="middle"'
            parts.append(f'<text class="tick" {place}>{_number(tick)}</text>')
    parts.append(f'<text class="tick" x="{_LEFT}" y="{_HEIGHT - 10}">{escape(x_label)}</text>')
    for index, points in enumerate(drawn.values()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        if index == 0:
            floor = _HEIGHT - _BOTTOM
            first, last = at(*points[0])[0], at(*points[-1])[0]
            parts.append(f'<polygon class="area" points="{first:.1f},{floor} {path} {last:.1f},{floor}"/>')
        parts.append(f'<polyline class="{"line" if index == 0 else "line second"}" points="{path}"/>')
        x, y = at(*points[-1])
        parts.append(f'<circle class="{"dot" if index == 0 else "dot second"}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
    return Markup("".join([*parts, "</svg>"]))


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``_MOST_POINTS`` points, each the mean of a stretch."""
    stretch = math.ceil(len(points) / _MOST_POINTS)
    groups = [points[i : i + stretch] for i in range(0, len(points), stretch)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def _ticks(low: float, high: float) -> list[float]:
    """About four round numbers that cover low to high."""
    if not high > low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    return [step * n for n in range(first, math.ceil(high / step - 1e-9) + 1)]


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e3:
        return f"{value / 1e3:g}k"
    return f"{value:.3g}"

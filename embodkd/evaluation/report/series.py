"""What is drawn of a logged scalar: one line per setting over the same abscissa, the range about it, spikes apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Points = Sequence[tuple[float, float]]

_FAR, _FEW = 10.0, 20
"""So many spreads beyond nearly all values, a value is a spike: the axis does not follow it. Few values have none."""


@dataclass(frozen=True)
class Line:
    """The mean of a setting's seeds, at most some hundred points; the lowest and highest value of all seeds about each;
    and the values that the axis leaves out."""

    label: str
    colour: str
    x_P: np.ndarray
    mean_P: np.ndarray
    low_P: np.ndarray
    high_P: np.ndarray
    spikes: tuple[tuple[float, float], ...] = ()

    @property
    def has_band(self) -> bool:
        """Whether it stands for more than one value at a point."""
        return bool((self.high_P > self.low_P).any())


def bounds(runs: Sequence[Points]) -> tuple[float, float]:
    """Between these lie all values but far outliers."""
    values = np.array([y for points in runs for _, y in points])
    if len(values) < _FEW:
        return float(values.min()), float(values.max())
    # At least the largest and the smallest value are left out of these, however few there are.
    low, high = np.quantile(values, 0.01, method="higher"), np.quantile(values, 0.99, method="lower")
    reach = _FAR * max(high - low, abs(high) * 1e-3, 1e-12)
    near = values[(values >= low - reach) & (values <= high + reach)]
    return float(near.min()), float(near.max())


def line(label: str, colour: str, seeds: Sequence[Points], within: tuple[float, float], most: int) -> Line | None:
    """One setting's line of at most ``most`` points from the series of its seeds; None if there is nothing to draw.

    Seeds that were logged at other steps are read off between their own; the line ends where the first of them does.
    """
    low, high = within
    spikes = tuple((x, y) for points in seeds for x, y in points if not low <= y <= high)
    kept = [_ascending([(x, y) for x, y in points if low <= y <= high]) for points in seeds]
    kept = [(x_P, y_P) for x_P, y_P in kept if len(x_P)]
    if not kept:
        return None
    first, last = max(x_P[0] for x_P, _ in kept), min(x_P[-1] for x_P, _ in kept)
    x_P = np.unique(np.concatenate([x_P for x_P, _ in kept]))
    x_P = x_P[(x_P >= first) & (x_P <= last)]
    if len(x_P) < 2:
        return None
    y_SP = np.stack([np.interp(x_P, *points) for points in kept])
    starts = np.unique(np.linspace(0, len(x_P), min(most, len(x_P)), endpoint=False).astype(int))
    ends = np.append(starts[1:], len(x_P)) - 1
    mean_P = np.add.reduceat(y_SP.mean(0), starts) / (ends - starts + 1)
    low_P, high_P = np.minimum.reduceat(y_SP.min(0), starts), np.maximum.reduceat(y_SP.max(0), starts)
    return Line(label, colour, x_P[ends], mean_P, low_P, high_P, spikes)


def _ascending(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Each step once, with what was logged there last: a run that went on after a kill logs some of them again."""
    last = dict(points)
    x_P = np.array(sorted(last), float)
    return x_P, np.array([last[x] for x in x_P.tolist()], float)

"""A line in log-log that a falling curve follows, and the moment at which it leaves it upwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """y = a * t^-b, fitted by least squares of log y on log t; `spread`: the residuals' standard deviation."""

    a: float
    b: float
    spread: float
    mean: float
    inverse: float
    count: int

    @classmethod
    def fitted(cls, steps: Sequence[float], values: Sequence[float]) -> PowerLaw:
        """To at least three points with positive steps and values; ValueError otherwise."""
        if len(steps) < 3 or min(steps) <= 0 or min(values) <= 0:
            raise ValueError(f"a power law needs at least 3 points, all positive; got {len(steps)}")
        x, y = np.log(steps), np.log(values)
        across = ((x - x.mean()) ** 2).sum()
        slope = ((x - x.mean()) * (y - y.mean())).sum() / across
        rest = y - y.mean() - slope * (x - x.mean())
        spread = float(np.sqrt((rest**2).sum() / (len(x) - 2)))
        return cls(float(np.exp(y.mean() - slope * x.mean())), float(-slope), spread, x.mean(), 1.0 / across, len(x))

    def above(self, step: float, value: float, widths: float = 3.0) -> bool:
        """Whether a new point lies more than so many standard deviations of a prediction above the line, in log y.

        These are spread * sqrt(1 + 1/n + (log t - mean)^2 / sum of squares): what the line may be wrong by counts too.
        """
        x = np.log(step)
        width = self.spread * np.sqrt(1.0 + 1.0 / self.count + (x - self.mean) ** 2 * self.inverse)
        return bool(np.log(value) - (np.log(self.a) - self.b * x) > widths * width)


def leaves(
    steps: Sequence[float],
    values: Sequence[float],
    *,
    fit: tuple[float, float] = (0.2, 0.5),
    widths: float = 3.0,
    patience: int = 3,
) -> float | None:
    """The step at which the curve has been above its own power law for `patience` evaluations; None if it never is.

    The law is fitted where the logarithm of the step lies between these shares of its whole range, and asked of all
    later evaluations. None, too, where that part has fewer than three.
    """
    x = np.log(np.asarray(steps, float))
    share = (x - x[0]) / (x[-1] - x[0]) if len(x) > 1 else np.zeros(len(x))
    chosen = (share >= fit[0]) & (share <= fit[1])
    if chosen.sum() < 3:
        return None
    taken = np.flatnonzero(chosen).tolist()
    law = PowerLaw.fitted([steps[k] for k in taken], [values[k] for k in taken])
    row = 0
    for step, value, after in zip(steps, values, share > fit[1], strict=True):
        row = row + 1 if after and law.above(step, value, widths) else 0
        if row == patience:
            return float(step)
    return None

"""One kind of curve for everything that changes over time: learning rates, weights, DAgger's beta, masking ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from embodkd.core.config.ranges import Real, Whole, Within
from embodkd.core.config.schema import build

Shape = Literal["constant", "linear", "cosine", "step"]


@dataclass(frozen=True)
class Schedule:
    """A number that depends on how far things are: `schedule.at(step, total)`.

    shape: "constant" (start), "linear" or "cosine" (from start to end over all steps), "step" (`values[k]` from step
    `at_steps[k]` on; without `at_steps` the k-th step has the k-th value and the last value stays).
    warmup: this many first steps climb in equal parts to `start` (step 0 has 1/warmup of it); the curve starts then.
    Steps are the caller's unit: optimiser updates for rates and weights, rounds for DAgger's beta.
    """

    shape: Shape = "constant"
    start: Real = 1.0
    end: Real = 0.0
    warmup: Whole = 0
    values: tuple[Real, ...] = ()
    at_steps: tuple[Whole, ...] = ()

    def __post_init__(self) -> None:
        if self.shape not in ("constant", "linear", "cosine", "step"):
            raise ValueError(f"schedule.shape: {self.shape!r} is not one of constant, linear, cosine, step")
        if self.warmup < 0:
            raise ValueError(f"schedule.warmup: must not be negative, got {self.warmup}")
        if (self.shape == "step") != bool(self.values):
            raise ValueError('schedule.values: a "step" schedule needs them, and no other has them')
        if self.at_steps and (len(self.at_steps) != len(self.values) or self.at_steps[0] != 0):
            raise ValueError("schedule.at_steps: one per value, the first 0")
        if list(self.at_steps) != sorted(set(self.at_steps)):
            raise ValueError(f"schedule.at_steps: must rise, got {self.at_steps}")

    def at(self, step: int, total: int | None = None) -> float:
        """The value at `step` (0, 1, ...) of `total`; `total` is needed by "linear" and "cosine" only."""
        if step < 0:
            raise ValueError(f"a schedule starts at step 0, got {step}")
        if step < self.warmup:
            return self._curve(0, total) * (step + 1) / self.warmup
        return self._curve(step - self.warmup, None if total is None else total - self.warmup)

    def _curve(self, step: int, total: int | None) -> float:
        if self.shape == "constant":
            return self.start
        if self.shape == "step":
            if not self.at_steps:
                return self.values[min(step, len(self.values) - 1)]
            return [v for v, at in zip(self.values, self.at_steps, strict=True) if at <= step][-1]
        if total is None:
            raise ValueError(f"a {self.shape} schedule needs the total number of steps")
        # The last step (total - 1) has exactly the end value.
        share = min(1.0, step / max(1, total - 1))
        blend = share if self.shape == "linear" else (1.0 - math.cos(math.pi * share)) / 2.0
        return self.start + (self.end - self.start) * blend

    def numbers(self) -> tuple[float, ...]:
        """Its ends, or its steps: all values lie between them, those of a warm-up between 0 and the first."""
        ends = (self.start,) if self.shape == "constant" else (self.start, self.end)
        return self.values if self.shape == "step" else ends

    def to_config(self) -> dict[str, Any]:
        """A mapping that `schedule` turns back into this object."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


WeightCurve = Annotated[float | Schedule, Within(0.0)]
"""A weight or a rate, fixed or not: what `schedule` takes, of which a config's mapping makes a Schedule."""
PositiveCurve = Annotated[float | Schedule, Within(0.0, above=True)]
ShareCurve = Annotated[float | Schedule, Within(0.0, 1.0)]


def schedule(value: float | Mapping[str, Any] | Schedule, where: str = "schedule") -> Schedule:
    """A Schedule from a config: a number (constant), a mapping of Schedule's fields, or a Schedule itself.

    ValueError that names `where` and the nearest key otherwise.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, Mapping):
        return build(Schedule, value, where)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{where}: {value!r} is neither a number nor a mapping such as {{shape: cosine, start: 1e-3}}")
    return Schedule(start=float(value))


def constant(value: float) -> Schedule:
    """Always `value`."""
    return Schedule(start=value)


def linear(start: float, end: float, *, warmup: int = 0) -> Schedule:
    """A straight line from `start` to `end`."""
    return Schedule("linear", start, end, warmup)


def cosine(start: float, end: float = 0.0, *, warmup: int = 0) -> Schedule:
    """Half a cosine wave from `start` to `end`."""
    return Schedule("cosine", start, end, warmup)


def staircase(*values: float, at: tuple[int, ...] = ()) -> Schedule:
    """A staircase: see Schedule."""
    return Schedule("step", values=values, at_steps=at)

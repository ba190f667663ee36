"""Honest timing on a shared machine: contenders take turns, the CPU time of all processes counts, with intervals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import psutil  # accelerate brings it

REPEATS = 9
BUSY = 0.25  # cores at work for others, from where on a number says so


@dataclass(frozen=True)
class Sample:
    """One timed call: CPU-seconds of this process and of its workers, dead or alive, and wall seconds."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Contender:
    """Something to time; ``workers`` are the ids of living child processes that work for it."""

    run: Callable[[], object]
    workers: Sequence[int] = ()


@dataclass(frozen=True)
class Line:
    """One line of the table: a median with its 95 % interval, against a target or (None) for the record."""

    name: str
    value: float
    interval: tuple[float, float]
    unit: str
    sense: Literal["<=", ">="]
    target: float | None
    command: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the median meets the target, if there is one."""
        if self.target is None:
            return True
        return self.value <= self.target if self.sense == "<=" else self.value >= self.target

    def record(self) -> dict[str, Any]:
        """The line as plain JSON values."""
        return asdict(self) | {"interval": list(self.interval), "reached": self.reached}


def take_turns(contenders: dict[str, Contender], repeats: int = REPEATS) -> dict[str, list[Sample]]:
    """Time every contender ``repeats`` times after one unrecorded call, in an order that turns each round."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender.run()
    names = list(contenders)
    for turn in range(repeats):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            samples[name].append(timed(contenders[name]))
    return samples


def timed(contender: Contender) -> Sample:
    """Time one call."""
    cpu, wall = cpu_seconds(contender.workers), time.perf_counter()
    contender.run()
    return Sample(cpu_seconds(contender.workers) - cpu, time.perf_counter() - wall)


def median_interval(values: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The median and its 95 % percentile-bootstrap interval (10 000 resamples, fixed seed)."""
    array = np.asarray(values, float)
    picks = np.random.default_rng(0).integers(len(array), size=(10_000, len(array)))
    low, high = np.quantile(np.median(array[picks], axis=1), [0.025, 0.975])
    return float(np.median(array)), (float(low), float(high))


def ratios(above: list[Sample], below: list[Sample], clock: Literal["cpu", "wall"] = "cpu") -> list[float]:
    """Turn by turn, the time of one contender over that of another."""
    return [getattr(a, clock) / getattr(b, clock) for a, b in zip(above, below, strict=True)]


def summary(samples: dict[str, list[Sample]], work: float) -> dict[str, Any]:
    """What to store of a round: the machine's load now, and per contender rates for ``work`` units per call."""
    return {
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "repeats": len(next(iter(samples.values()))),
        "contenders": {
            name: {
                "per_cpu_second": work / float(np.median([s.cpu for s in taken])),
                "per_second": work / float(np.median([s.wall for s in taken])),
                "cpu_seconds": [round(s.cpu, 4) for s in taken],
                "wall_seconds": [round(s.wall, 4) for s in taken],
            }
            for name, taken in samples.items()
        },
    }


def cpu_seconds(workers: Sequence[int] = ()) -> float:
    """CPU time so far of this process, its ended children and these living ones."""
    own = os.times()  # coarse (10 ms), but the only one that knows ended children
    total = time.process_time() + own.children_user + own.children_system
    for pid in workers:
        spent = psutil.Process(pid).cpu_times()
        total += spent.user + spent.system + spent.children_user + spent.children_system
    return total


def used_by_others(seconds: float = 1.0) -> float:
    """How many cores are at work while this process sleeps, on average over some seconds."""
    return round(psutil.cpu_percent(interval=seconds) / 100 * psutil.cpu_count(), 2)


def machine(cores: Sequence[float] | None) -> str:
    """What to say beside a number that was measured with so many cores at work for others, before and after it."""
    if cores is None:
        return "not said"
    return "quiet" if max(cores) <= BUSY else f"busy: {max(cores):.1f} cores"

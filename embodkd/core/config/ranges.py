"""Numbers with a range as part of their type: `schema.build` holds to it what a config gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

LARGEST = 2**63 - 1
"""Of the whole numbers: what does not fit in 64 bits is a slip."""


@dataclass(frozen=True)
class Within:
    """low to high, both included; `above`: low itself is not, `below`: high itself is not.

    Of an object with `numbers()`, such as a schedule, all of them lie within.
    """

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: Any) -> bool:
        if hasattr(value, "numbers"):
            return all(number in self for number in value.numbers())
        low = self.low < value if self.above else self.low <= value
        high = value < self.high if self.below else value <= self.high
        return low and high and value < math.inf

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {_plain(self.low)}" if self.above else f"of at least {_plain(self.low)}"
        if self.above or self.below:
            return f"{'above' if self.above else 'from'} {_plain(self.low)} {'to below' if self.below else 'to'} " + (
                _plain(self.high)
            )
        return f"from {_plain(self.low)} to {_plain(self.high)}"

    @property
    def short(self) -> str:
        """As help shows it: `0..1`, `1..`, `>0`, `0..<1`."""
        if self.high >= LARGEST:
            return f">{_plain(self.low)}" if self.above else f"{_plain(self.low)}.."
        return f"{'>' if self.above else ''}{_plain(self.low)}..{'<' if self.below else ''}{_plain(self.high)}"


def _plain(number: float) -> str:
    return f"{number:.12g}"


def rising(pair: tuple[float, float], where: str) -> None:
    """ValueError unless the second number is above the first."""
    if not pair[0] < pair[1]:
        raise ValueError(f"{where}: must rise, from the lower number to the higher, got {list(pair)}")


Share = Annotated[float, Within(0.0, 1.0)]
"""A part of a whole."""
Part = Annotated[float, Within(0.0, 1.0, below=True)]
"""A part that leaves something over."""
Some = Annotated[float, Within(0.0, 1.0, above=True)]
"""A part that is something."""
Positive = Annotated[float, Within(0.0, above=True)]
NotNegative = Annotated[float, Within(0.0)]
OpenShare = Annotated[float, Within(0.0, 1.0, above=True, below=True)]
"""Neither nothing nor all."""
Ratio = Annotated[float, Within(1.0)]
"""Of the larger to the smaller."""
Real = Annotated[float, Within(-1e6, 1e6)]
"""Of either sign."""
Count = Annotated[int, Within(1)]
"""How many, at least one."""
Whole = Annotated[int, Within(0)]
"""How many, or none."""
Width = Annotated[int, Within(1, 65536)]
"""Of a layer: wider ones fit in no memory."""
Depth = Annotated[int, Within(1, 1000)]
"""How many layers."""
Horizon = Annotated[int, Within(1, 4096)]
"""Control steps ahead."""
Severity = Annotated[int, Within(1, 5)]
"""Of a corruption."""
Pixels = Annotated[int, Within(1, 4096)]
"""A side of a picture."""
Copies = Annotated[int, Within(1, 1048576)]
"""Of a task, side by side."""
Episodes = Annotated[int, Within(1, 10_000_000)]
Judged = Annotated[int, Within(0, 10_000_000)]
"""Episodes, or none."""
Threads = Annotated[int, Within(0, 1024)]
"""0 is one per core."""
Seed = Annotated[int, Within(0, LARGEST)]
"""Of all random numbers, as torch takes it."""
EpisodeSeed = Annotated[int, Within(0, 2**31 - 1)]
"""Of a task's episodes, each of which has a number of its own after it."""

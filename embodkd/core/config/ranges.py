"""Numbers with a range as part of their type: `schema.build` holds to it what a config gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Within:
    """low to high, both included; `above`: low itself is not."""

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, number: float) -> bool:
        return (self.low < number if self.above else self.low <= number) and number <= self.high and number < math.inf

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"from {self.low:g} to {self.high:g}"
        return f"above {self.low:g}" if self.above else f"of at least {self.low:g}"


Share = Annotated[float, Within(0.0, 1.0)]
"""A part of a whole."""
Positive = Annotated[float, Within(0.0, above=True)]
NotNegative = Annotated[float, Within(0.0)]
Count = Annotated[int, Within(1)]
"""How many, at least one."""
Seed = Annotated[int, Within(0, 2**63 - 1)]
"""Of all random numbers, as torch takes it."""

"""What the numbers of an action are far from whoever made them: their names, units and bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from embodkd.core.config.ranges import Width

FRACTION = "fraction of the task's limit"


class _Stored(TypedDict):
    size: Width


class StoredAction(_Stored, total=False):
    """What a file says of an action; earlier versions wrote one unit and one pair of bounds for all, and no names."""

    names: list[str]
    units: list[str] | str
    low: list[float] | float
    high: list[float] | float


@dataclass(frozen=True)
class ActionFacts:
    """A numbers per control step, each with a name, a unit ("" if nobody says) and the bounds that it stays within."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        found = {field: len(values) for field, values in vars(self).items()}
        if len(set(found.values())) != 1:
            raise ValueError(f"an action needs one name, unit, low and high for each of its numbers, got {found}")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low <= high:
                raise ValueError(f"action {name!r}: its bounds are {low:g} to {high:g}")

    @property
    def size(self) -> int:
        """How many numbers, A."""
        return len(self.names)

    @classmethod
    def of(
        cls,
        size: int,
        names: Sequence[str] = (),
        units: Sequence[str] | str = "",
        low: Sequence[float] | float = -1.0,
        high: Sequence[float] | float = 1.0,
    ) -> ActionFacts:
        """`size` numbers; one unit or bound stands for all of them, and without names they are numbered."""
        units = (units,) * size if isinstance(units, str) else units
        lows, highs = ((limit,) * size if isinstance(limit, (int, float)) else limit for limit in (low, high))
        return cls(
            tuple(names) or tuple(f"action_{i}" for i in range(size)),
            tuple(units),
            tuple(map(float, lows)),
            tuple(map(float, highs)),
        )

    @classmethod
    def of_task(cls, size: int) -> ActionFacts:
        """Those of every simulated task here: fractions of its limits, from -1 to 1."""
        return cls.of(size, units=FRACTION)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return {"size": self.size, **{field: list(values) for field, values in vars(self).items()}}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ActionFacts:
        """From a `StoredAction`."""
        facts = {field: stored[field] for field in ("names", "units", "low", "high") if field in stored}
        return cls.of(int(stored["size"]), **facts)

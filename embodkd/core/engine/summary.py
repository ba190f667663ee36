"""What a training run came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Summary:
    """Updates made, minutes (of the run folder, if any), the last logged numbers."""

    updates: int
    minutes: float
    last: dict[str, float] = field(default_factory=dict)

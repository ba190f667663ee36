"""Domain randomisation as plain numbers: how far each property of an episode may stray from the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from embodkd.envs import draws

from embodkd.core.config.ranges import NotNegative, Part, Share, Within
from embodkd.core.config.schema import Keys


@dataclass(frozen=True)
class Randomise:
    """Zero everywhere (the default) leaves the model alone.

    ``mass``, ``friction`` and ``gains`` are the half-width of a factor drawn uniformly about 1; ``latency`` the
    largest delay of an action in control steps; ``camera_position`` (m) and ``camera_rotation`` (rad) standard
    deviations; ``light`` and ``colours`` mix between the nominal (0) and a random look (1).
    """

    mass: Part = 0.0
    friction: Part = 0.0
    gains: Part = 0.0
    latency: Annotated[int, Within(0, 1000)] = 0
    camera_position: NotNegative = 0.0
    camera_rotation: NotNegative = 0.0
    light: Share = 0.0
    colours: Share = 0.0

    def __post_init__(self) -> None:
        for name in ("mass", "friction", "gains"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"randomise.{name} must be in [0, 1): a factor is drawn from 1 - {name} to 1 + {name}")

    def delays(self, seeds: np.ndarray) -> np.ndarray:
        """Action delay of each episode in control steps, (n,) integers in 0..latency."""
        if not self.latency:
            return np.zeros(len(seeds), np.int64)
        return np.floor(draws.uniform(seeds, "latency", 1, high=self.latency + 1.0)[:, 0]).astype(np.int64)

    def factor(self, seeds: np.ndarray, name: str, count: int) -> np.ndarray:
        """Factors about 1 of the property ``name`` ("mass", "friction" or "gains"), (n, count)."""
        width = getattr(self, name)
        return draws.uniform(seeds, name, count, low=1 - width, high=1 + width)


Randomised = Annotated[Mapping[str, Any] | None, Keys("embodkd.envs.randomise:Randomise")]
"""A task's keyword: keys of Randomise, or nothing."""

"""Domain randomisation as plain numbers: how far each property of an episode may stray from the model's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embodkd.envs import draws
from embodkd.envs.sim.batch_sim import BatchSim


@dataclass(frozen=True)
class Randomise:
    """Zero everywhere (the default) leaves the model alone.

    ``mass``, ``friction`` and ``gains`` are the half-width of a factor drawn uniformly about 1; ``latency`` the
    largest delay of an action in control steps; ``camera_position`` (m) and ``camera_rotation`` (rad) standard
    deviations; ``light`` and ``colours`` mix between the nominal (0) and a random look (1).
    """

    mass: float = 0.0
    friction: float = 0.0
    gains: float = 0.0
    latency: int = 0
    camera_position: float = 0.0
    camera_rotation: float = 0.0
    light: float = 0.0
    colours: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mass", "friction", "gains"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"randomise.{name} must be in [0, 1): a factor is drawn from 1 - {name} to 1 + {name}")

    def place(self, sim: BatchSim, ids: np.ndarray, seeds: np.ndarray) -> None:
        """Draw the physics of new episodes; the copies' parameters start from the model's own each time."""
        sim.restore(ids)
        model = sim.model
        if self.mass:
            factor = self._factor(seeds, "mass", self.mass, model.nbody)
            sim.parameter("body_mass")[ids] *= factor
            sim.parameter("body_inertia")[ids] *= factor[..., None]
            sim.constants(ids)
        if self.friction:
            sim.parameter("geom_friction")[ids] *= self._factor(seeds, "friction", self.friction, 1)[..., None]
        if self.gains:
            factor = self._factor(seeds, "gains", self.gains, model.nu)[..., None]
            sim.parameter("actuator_gainprm")[ids] *= factor
            sim.parameter("actuator_biasprm")[ids] *= factor

    def delays(self, seeds: np.ndarray) -> np.ndarray:
        """Action delay of each episode in control steps, (n,) integers in 0..latency."""
        return np.floor(draws.uniform(seeds, "latency", 1, high=self.latency + 1.0)[:, 0]).astype(np.int64)

    @staticmethod
    def _factor(seeds: np.ndarray, stream: str, width: float, count: int) -> np.ndarray:
        return draws.uniform(seeds, stream, count, low=1 - width, high=1 + width)

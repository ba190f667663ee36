"""What a Bullet world asks of its robot."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from embodkd.envs.sim.randomise import Randomise
from embodkd.envs.sim.robots.base import Tool

TIMESTEP = 0.004  # s


class BulletRobot(Tool):
    """A tool robot whose controller is ours: it writes the forces of each substep into the simulator's rows.

    MuJoCo integrates a controller's damping D implicitly.  For a time step h that is the same as h D more mass, so the
    bodies that a controller moves carry it here: free motion and contact forces are then those of the other engine.
    """

    @abstractmethod
    def drive(self) -> None:
        """Write the forces or torques that act during the next substep."""

    @abstractmethod
    def randomise(self, how: Randomise, ids: np.ndarray, seeds: np.ndarray) -> None:
        """Draw the controller's gains for new episodes."""

    @abstractmethod
    def state_dict(self) -> dict[str, np.ndarray]:
        """What the future depends on besides the simulator's rows."""

    @abstractmethod
    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""

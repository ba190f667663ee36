"""What a Bullet world asks of its robot."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.geometry import matrix_from_quat, rotate, turn_between, unrotate
from embodkd.envs.randomise import Randomise
from embodkd.envs.robot import Tool
from embodkd.envs.state import restore, saved

TIMESTEP = 0.004  # s


class BulletRobot(Tool):
    """A tool robot whose controller is ours: it writes the forces of each substep into the simulator's rows.

    MuJoCo integrates a controller's damping D implicitly.  For a time step h that is the same as h D more mass, so the
    bodies that a controller moves carry it here: free motion and contact forces are then those of the other engine.
    """

    keeps: ClassVar[dict[str, str]] = {
        "target": "_target_N3",
        "turned": "_turned_N4",
        "gain": "_gain",
        "force": "_force_N6",
    }

    def __init__(self, sim: BulletSim, gains: int, stiffness: Sequence, damping: Sequence, limit: Sequence) -> None:
        """Numbers of the impedance, linear ones first; ``gains`` counts the controller's randomised factors."""
        self.sim = sim
        self._stiffness_6, self._damping_6, self._limit_6 = (np.repeat(two, 3) for two in (stiffness, damping, limit))
        self._target_N3, self._turned_N4 = np.zeros((sim.num_envs, 3)), np.tile([1.0, 0, 0, 0], (sim.num_envs, 1))
        self._gain = np.ones((sim.num_envs, gains))
        self._force_N6 = np.zeros((sim.num_envs, 6))

    def aim(self, ids: np.ndarray | slice, position_n3: np.ndarray, quat_n4: np.ndarray) -> None:
        """Let the impedance pull the tools of copies ``ids`` towards these poses."""
        self._target_N3[ids], self._turned_N4[ids] = position_n3, quat_n4

    @abstractmethod
    def drive(self) -> None:
        """Write the forces or torques that act during the next substep."""

    def randomise(self, how: Randomise, ids: np.ndarray, seeds: np.ndarray) -> None:
        """Draw the controller's gains for new episodes."""
        self._gain[ids] = how.factor(seeds, "gains", self._gain.shape[1])

    @property
    def missing_turn(self) -> np.ndarray:
        """See ``Tool``."""
        return turn_between(self.quat, self._turned_N4)

    @property
    def force(self) -> np.ndarray:
        """See ``Tool``; as it was at the last substep's start."""
        return self._force_N6

    def state_dict(self) -> dict[str, np.ndarray]:
        """What the future depends on besides the simulator's rows: targets, gains and last forces."""
        return saved(self, self.keeps)

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> None:
        """Continue from ``state_dict``."""
        restore(self, self.keeps, arrays)

    def _pull(self, velocity_N6: np.ndarray, gain_N6: np.ndarray) -> None:
        """Let the impedance pull towards the target for the next substep; ``velocity_N6`` is along the world's axes.

        As in the other engine a turn is pulled, and its torque bounded, along the axes of what the tool aims at.
        """
        aimed = matrix_from_quat(self._turned_N4)
        missing = np.concatenate([self._target_N3 - self.position, self.missing_turn], axis=1)
        velocity = np.concatenate([velocity_N6[:, :3], unrotate(aimed, velocity_N6[:, 3:])], axis=1)
        wanted = gain_N6 * (self._stiffness_6 * missing - self._damping_6 * velocity)
        self._force_N6[:] = np.clip(wanted, -self._limit_6, self._limit_6)
        self._force_N6[:, 3:] = rotate(aimed, self._force_N6[:, 3:])

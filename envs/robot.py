"""What a task may ask of any robot with one tool, whatever engine moves it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from embodkd.envs.geometry import quat_from_matrix, rotvec_from_quat


class Tool(ABC):
    """A robot as a task sees it, in any engine: one tool frame that moves by small pose deltas.

    All poses are of the tool's frame in the world, metres and radians; arrays are (N, ...).
    """

    action_size: int = 6

    @abstractmethod
    def place(self, ids: np.ndarray, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> None:
        """Start copies at rest with the tool at these poses (state rows only; ``forward`` is the caller's)."""

    @abstractmethod
    def command(self, actions: np.ndarray) -> None:
        """Take actions (N, action_size) in [-1, 1] for the next control period: deltas in the tool's own frame."""

    @property
    @abstractmethod
    def position(self) -> np.ndarray:
        """Tool position, (N, 3)."""

    @property
    @abstractmethod
    def rotation(self) -> np.ndarray:
        """Tool rotation, (N, 3, 3)."""

    @property
    @abstractmethod
    def twist(self) -> np.ndarray:
        """Linear velocity in the world and angular velocity of the tool, in axes that its class names, (N, 6)."""

    @property
    @abstractmethod
    def force(self) -> np.ndarray:
        """Forces (N) and torques (Nm) that the controller applies along the six task axes, (N, 6)."""

    @property
    def rotvec(self) -> np.ndarray:
        """Tool rotation as rotation vector, (N, 3)."""
        return rotvec_from_quat(quat_from_matrix(self.rotation))

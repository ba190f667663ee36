"""What a task may ask of any robot with one tool, whatever engine moves it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from embodkd.envs.geometry import quat_from_matrix, rotvec_from_quat
from embodkd.envs.spec import Column

POSITION, ROTVEC = Column("tool position", 3, "m", "world"), Column("tool rotation vector", 3, "rad", "world")
TWIST = (Column("tool velocity", 3, "m/s", "world"), Column("tool angular velocity", 3, "rad/s", "tool"))
FORCE = (Column("controller force", 3, "N", "world"), Column("controller torque", 3, "Nm", "world"))
SHORTEST = "the controller pulls a tool the shortest way round, also near a half turn"


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

    @abstractmethod
    def aim(self, ids: np.ndarray | slice, position_n3: np.ndarray, quat_n4: np.ndarray) -> None:
        """Let the controller pull the tools of copies ``ids`` towards these poses until the next ``command``."""

    @property
    @abstractmethod
    def missing_turn(self) -> np.ndarray:
        """The turn from the tool to what it aims at, as the controller has it: the shortest one, (N, 3).

        It is along the tool's axes, or those of the aim, which is the same: no turn moves its own axis.
        """

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
        """Linear velocity along the world's axes and angular velocity along the tool's, (N, 6)."""

    @property
    @abstractmethod
    def force(self) -> np.ndarray:
        """Force (N) and torque (Nm) that the controller applies, along the world's axes, (N, 6)."""

    @property
    def quat(self) -> np.ndarray:
        """Tool rotation as unit quaternion (w, x, y, z), (N, 4)."""
        return quat_from_matrix(self.rotation)

    @property
    def rotvec(self) -> np.ndarray:
        """Tool rotation as rotation vector, (N, 3)."""
        return rotvec_from_quat(self.quat)

"""Robots of MuJoCo with one tool: they add themselves to a model and are moved by impedance along six task axes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import mujoco
import numpy as np
from embodkd.envs.geometry import rotate
from embodkd.envs.robot import Tool
from embodkd.envs.sim.batch_sim import BatchSim

AIM = "aim"  # the body without mass or shape that is turned as the tool shall be, and the site on it


class ToolRobot(Tool):
    """A tool robot of MuJoCo: ``build`` adds it to a model before compilation, ``bind`` connects it to the copies."""

    sim: BatchSim
    tool_site: str = "tool"

    @abstractmethod
    def build(self, spec: mujoco.MjSpec) -> mujoco.MjsBody:
        """Add bodies and actuators; returns the body that carries the tool, for a task to attach things to."""

    def bind(self, sim: BatchSim) -> None:
        """Connect to the running copies."""
        self.sim = sim
        self._site, self._aim = sim.model.site(self.tool_site).id, sim.model.site(AIM).id
        self._turned = sim.model.body(AIM).mocapid[0]
        first = sim.model.actuator("impedance0").id
        self._impedance, self._shift, self._turn = (slice(first + a, first + b) for a, b in ((0, 6), (0, 3), (3, 6)))
        for field in ("site_xpos", "site_xmat", "actuator_length", "actuator_velocity", "actuator_force"):
            sim.view(field)

    def aim(self, ids: np.ndarray | slice, position_n3: np.ndarray, quat_n4: np.ndarray) -> None:
        """See ``Tool``."""
        self.sim.view("ctrl")[ids, self._shift] = position_n3
        self.sim.view("mocap_quat")[ids, self._turned] = quat_n4

    @property
    def missing_turn(self) -> np.ndarray:
        """See ``Tool``."""
        return -self.sim.view("actuator_length")[:, self._turn]

    @property
    def position(self) -> np.ndarray:
        """Tool position, (N, 3)."""
        return self.sim.view("site_xpos")[:, self._site]

    @property
    def rotation(self) -> np.ndarray:
        """Tool rotation, (N, 3, 3)."""
        return self.sim.view("site_xmat")[:, self._site].reshape(-1, 3, 3)

    @property
    def force(self) -> np.ndarray:
        """See ``Tool``."""
        return self._in_world(self.sim.view("actuator_force"))

    def _in_world(self, values_NU: np.ndarray) -> np.ndarray:
        """What the six actuators have, (N, 6): the angular ones have it along the axes of what the tool aims at."""
        aimed = self.sim.view("site_xmat")[:, self._aim].reshape(-1, 3, 3)
        return np.concatenate([values_NU[:, self._shift], rotate(aimed, values_NU[:, self._turn])], axis=1)


class FloatingRobot(ToolRobot):
    """A free body, with a joint named ``base``, whose origin is the tool point."""

    base: str

    def bind(self, sim: BatchSim) -> None:
        """Connect to the running copies."""
        super().bind(sim)
        joint = sim.model.joint(self.base)
        self._base_qpos = slice(joint.qposadr[0], joint.qposadr[0] + 7)
        self._base_qvel = slice(joint.dofadr[0], joint.dofadr[0] + 6)

    @property
    def quat(self) -> np.ndarray:
        """Tool rotation as unit quaternion (w, x, y, z), (N, 4); the tool is the free body itself."""
        return self.sim.view("qpos")[:, self._base_qpos][:, 3:]

    @property
    def twist(self) -> np.ndarray:
        """See ``Tool``; a free joint has its velocities along just these axes."""
        return self.sim.view("qvel")[:, self._base_qvel]


def add_impedance(actuator: mujoco.MjsActuator, stiffness: float, damping: float, limit: float) -> None:
    """Make an actuator a spring and damper towards its control, with a bounded force."""
    actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    actuator.gainprm[0], actuator.biasprm[1], actuator.biasprm[2] = stiffness, -stiffness, -damping
    actuator.forcelimited, actuator.forcerange = True, [-limit, limit]


def add_tool_impedance(
    spec: mujoco.MjSpec, site: str, stiffness: Sequence[float], damping: Sequence[float], limit: Sequence[float]
) -> None:
    """Add one impedance actuator for each axis of the pose of ``site``; linear numbers, then angular.

    The linear ones have the position in the world as their length and pull it to their control.  The angular ones are
    seen from ``AIM``, so that their length is the logarithm of the rotation from there to the tool: the shortest turn,
    whichever way both are turned.  Their control stays zero.
    """
    spec.worldbody.add_site(name="origin")
    spec.worldbody.add_body(name=AIM, mocap=True).add_site(name=AIM)
    for axis in range(6):
        actuator = spec.add_actuator(name=f"impedance{axis}")
        actuator.trntype = mujoco.mjtTrn.mjTRN_SITE
        actuator.target, actuator.refsite = site, "origin" if axis < 3 else AIM
        actuator.gear = np.eye(6)[axis]
        add_impedance(actuator, stiffness[axis // 3], damping[axis // 3], limit[axis // 3])

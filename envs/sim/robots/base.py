"""Robots of MuJoCo with one tool: they add themselves to a model and are moved by impedance along six task axes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import mujoco
import numpy as np
from embodkd.envs.robot import Tool
from embodkd.envs.sim.batch_sim import BatchSim


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
        self._site = sim.model.site(self.tool_site).id
        first = sim.model.actuator("impedance0").id
        self._impedance = slice(first, first + 6)

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
        """Forces and torques of the impedance along the world's axes, (N, 6)."""
        return self.sim.view("actuator_force")[:, self._impedance]


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
    def twist(self) -> np.ndarray:
        """Linear velocity in the world and angular velocity in the tool's frame (a free joint's own), (N, 6)."""
        return self.sim.view("qvel")[:, self._base_qvel]


def add_impedance(actuator: mujoco.MjsActuator, stiffness: float, damping: float, limit: float) -> None:
    """Make an actuator a spring and damper towards its control, with a bounded force."""
    actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    actuator.gainprm[0], actuator.biasprm[1], actuator.biasprm[2] = stiffness, -stiffness, -damping
    actuator.forcelimited, actuator.forcerange = True, [-limit, limit]


def add_tool_impedance(
    spec: mujoco.MjSpec, site: str, stiffness: Sequence[float], damping: Sequence[float], limit: Sequence[float]
) -> None:
    """Add one impedance actuator for each axis of the pose of ``site`` in the world; linear numbers, then angular."""
    spec.worldbody.add_site(name="origin")
    for axis in range(6):
        actuator = spec.add_actuator(name=f"impedance{axis}")
        actuator.trntype = mujoco.mjtTrn.mjTRN_SITE
        actuator.target, actuator.refsite = site, "origin"
        actuator.gear = np.eye(6)[axis]
        add_impedance(actuator, stiffness[axis // 3], damping[axis // 3], limit[axis // 3])

"""A Panda arm: impedance control at the tool, with fingers or with something held fast."""

from __future__ import annotations

from typing import Literal

import mujoco
import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, unrotate
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.robots.base import ToolRobot, add_tool_impedance
from embodkd.envs.sim.robots.fingers import FINGER_DAMPING, Fingers
from embodkd.envs.sim.robots.panda_control import DAMPING, LIMIT, STIFFNESS, reach, target
from embodkd.envs.sim.robots.panda_model import add_arm, add_hand


class PandaArm(ToolRobot):
    """Commands are "current pose plus delta", so contact forces are bounded by stiffness times delta.

    ``actions`` "pose" takes three translations and three rotations, "yaw" three translations and the turn about the
    vertical while the hand is held upright.  With ``grip`` one more number opens (1) and closes (-1) the fingers, as
    fast as ``finger_damping`` (N s/m) lets them; without it they are fixed in a closed pose around whatever the task
    attaches to the tool.  ``reach`` is how far
    (m) the tool point lies beyond the fingertips' pads.  ``step`` are the largest deltas of one action, m and rad.
    ``base`` is the arm's foot in the world.  The tool frame has z up, against the approach, and fingers along y.
    """

    def __init__(
        self,
        *,
        actions: Literal["pose", "yaw"] = "pose",
        grip: bool = False,
        finger_damping: float = FINGER_DAMPING,
        reach: float = 0.049,
        step: tuple[float, float] = (0.01, 0.05),
        base: tuple[float, float, float] = (-0.5, 0.0, 0.0),
    ) -> None:
        self._upright, self._grip, self._reach, self._step, self._base = actions == "yaw", grip, reach, step, base
        self._finger_damping = finger_damping
        self._deltas = 4 if self._upright else 6
        self.action_size = self._deltas + grip

    def build(self, spec: mujoco.MjSpec) -> mujoco.MjsBody:
        """Add arm, hand and actuators; returns the massless body whose origin is the tool point."""
        flange = add_arm(spec, self._base)
        damping = self._finger_damping if self._grip else None
        holder = add_hand(spec, flange, finger_damping=damping, reach=self._reach, tool_site=self.tool_site)
        add_tool_impedance(spec, self.tool_site, STIFFNESS, DAMPING, LIMIT)
        return holder

    def bind(self, sim: BatchSim) -> None:
        """Connect to the running copies."""
        super().bind(sim)
        model = sim.model
        joints = [model.joint(f"joint{index + 1}") for index in range(7)]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        self._body = model.body("tool").id
        if self._grip:
            self._hand = Fingers(sim)

    def place(self, ids: np.ndarray, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> None:
        """Start copies at rest with the tool at these poses, fingers open, controller at equilibrium."""
        qpos, rows = self.sim.view("qpos"), ids[:, None]
        if self._grip:
            self._hand.place(ids)

        def kinematics(joints_n7: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            qpos[rows, self._qpos] = joints_n7
            self.sim.forward(ids)
            jacobian = np.concatenate(self.sim.jacobian(self._body, self.position[ids], ids), axis=1)
            return self.position[ids], self.rotation[ids], jacobian[:, :, self._qvel]

        qpos[rows, self._qpos] = reach(kinematics, position_n3, rotvec_n3)
        self.sim.view("qvel")[rows, self._qvel] = 0.0
        self.aim(ids, position_n3, quat_from_rotvec(rotvec_n3))

    def command(self, actions: np.ndarray) -> None:
        """Target = current pose + delta in the tool's frame, with deltas up to ``step``; fingers as the class says."""
        actions = actions.astype(float)
        self.aim(slice(None), *target(self.position, self.rotation, actions, self._step, upright=self._upright))
        if self._grip:
            self._hand.command(actions[:, self._deltas :])

    @property
    def twist(self) -> np.ndarray:
        """See ``Tool``."""
        moves = self._in_world(self.sim.view("actuator_velocity"))
        return np.concatenate([moves[:, :3], unrotate(self.rotation, moves[:, 3:])], axis=1)

    @property
    def fingers(self) -> np.ndarray:
        """How far each finger is open, 0 to ``OPEN`` m, (N, 2)."""
        return self._hand.opening

    @property
    def squeeze(self) -> np.ndarray:
        """Closing force (N) of each finger's servo as its position, speed and command give it, (N, 2)."""
        return self._hand.squeeze

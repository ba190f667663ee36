"""A floating gripper: one free body moved by six impedance actuators, the cheapest robot that can feel contact."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotate
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.robots.base import FloatingRobot, add_tool_impedance
from embodkd.envs.sim.robots.fingers import FINGER_DAMPING, Fingers, add_fingers

MASS = 1.0  # kg
INERTIA = 2e-3  # kg m^2 about the tool point, the same for each axis so that the six axes decouple
STIFFNESS = (1200.0, 8.0)  # N/m, Nm/rad
LIMIT = (40.0, 3.0)  # N, Nm
STEP = (0.01, 0.05)  # m, rad: the largest delta of one action unless asked otherwise


class FloatingGripper(FloatingRobot):
    """Commands are "current pose plus delta", so the contact force is bounded by stiffness times delta.

    With ``grip`` the fingers move as the Panda's do, the tool point lies between their pads, and one more number of
    the action opens (1) and closes (-1) them, as fast as ``finger_damping`` (N s/m) lets them.  ``step`` are the
    largest deltas of one action, m and rad.  The tool frame has its origin at the tool point, z up, against the
    approach, and fingers along y.
    """

    base = "gripper"

    def __init__(
        self, *, grip: bool = False, finger_damping: float = FINGER_DAMPING, step: tuple[float, float] = STEP
    ) -> None:
        self._grip, self._finger_damping, self._step = grip, finger_damping, step
        self.action_size = 6 + grip

    def build(self, spec: mujoco.MjSpec) -> mujoco.MjsBody:
        """Add the gripper: palm and fingers; without ``grip`` a task attaches what they hold to the returned body."""
        body = spec.worldbody.add_body(name="gripper", pos=[0, 0, 0.1])
        body.add_freejoint(name="gripper")
        body.gravcomp = 1.0
        body.explicitinertial = True
        body.mass, body.ipos, body.inertia = MASS, [0, 0, 0], [INERTIA] * 3
        body.add_site(name=self.tool_site)
        box = mujoco.mjtGeom.mjGEOM_BOX
        # a group of its own, which cameras may skip when it is out of their sight
        look = {"rgba": [0.25, 0.27, 0.3, 1.0], "mass": 0.0, "type": box, "group": 1}
        if self._grip:
            body.add_geom(name="palm", pos=[0, 0, 0.07], size=[0.022, 0.06, 0.02], **look)
            add_fingers(spec, body, slide=0.045, pad=-0.0317, damping=self._finger_damping)
        else:
            body.add_geom(name="palm", pos=[0, 0, 0.078], size=[0.012, 0.03, 0.012], **look)
            for side in (-1, 1):
                body.add_geom(name=f"finger{side}", pos=[0, side * 0.012, 0.053], size=[0.006, 0.0038, 0.013], **look)
        damping = (2 * np.sqrt(STIFFNESS[0] * MASS), 2 * np.sqrt(STIFFNESS[1] * INERTIA))
        add_tool_impedance(spec, self.tool_site, STIFFNESS, damping, LIMIT)
        return body

    def bind(self, sim: BatchSim) -> None:
        """Connect to the running copies."""
        super().bind(sim)
        if self._grip:
            self._hand = Fingers(sim)

    def place(self, ids: np.ndarray, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> None:
        """Start copies at rest with the tool at these poses and the controller at equilibrium."""
        quat = quat_from_rotvec(rotvec_n3)
        self.sim.view("qpos")[ids, self._base_qpos] = np.concatenate([position_n3, quat], axis=1)
        self.sim.view("qvel")[ids, self._base_qvel] = 0.0
        self.aim(ids, position_n3, quat)
        if self._grip:
            self._hand.place(ids)

    def command(self, actions: np.ndarray) -> None:
        """Target = current pose + delta in the tool's frame, with deltas up to ``step``; fingers as the class says."""
        actions = actions.astype(float)
        moved = self.position + rotate(self.rotation, self._step[0] * actions[:, :3])
        self.aim(slice(None), moved, quat_multiply(self.quat, quat_from_rotvec(self._step[1] * actions[:, 3:6])))
        if self._grip:
            self._hand.command(actions[:, 6:])

    @property
    def fingers(self) -> np.ndarray:
        """How far each finger is open, 0 to ``OPEN`` m, (N, 2)."""
        return self._hand.opening

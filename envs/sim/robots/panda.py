"""A Panda arm of primitive shapes: public kinematics and link masses, impedance control at the tool."""

from __future__ import annotations

from typing import Literal, NamedTuple

import mujoco
import numpy as np
from embodkd.envs.geometry import quat_from_rotvec, quat_multiply, rotate, rotvec_from_quat
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.robots.base import ToolRobot, quat_from_matrix

STIFFNESS = (1200.0, 60.0)  # N/m, Nm/rad
DAMPING = (100.0, 4.0)  # with POSTURE a settling time near one control period of 48 ms, no overshoot
LIMIT = (60.0, 10.0)  # N, Nm
HOME = (0.0, 0.15, 0.0, -2.5, 0.0, 2.65, 0.785)  # rad: hand down, low over the table half a metre ahead
POSTURE = (0.1, 1.0)  # Nm/rad, Nm s/rad: weak springs that only settle the redundant elbow
OPEN = 0.04  # m, travel of each finger
GRIP = (1000.0, 20.0, 20.0)  # N/m, N s/m, N: each finger's position servo and its limit
_FINGERTIP = 0.1034  # m from the hand's frame to the middle of the finger pads


class _Link(NamedTuple):
    """A body of the chain: where its frame lies in the one before, mass (kg) and capsules (from, to, radius)."""

    position: tuple[float, float, float]
    turn: float  # rad about x
    mass: float
    limit: tuple[float, float]  # rad
    torque: float  # Nm
    capsules: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...]


_Q = np.pi / 2
# Frames and limits: Franka's published Denavit-Hartenberg table.  Masses: Gaz et al., IEEE RA-L 2019, rounded.
_LINKS = (
    _Link((0, 0, 0.333), 0, 4.97, (-2.897, 2.897), 87, (((0, 0, -0.19), (0, 0, -0.03), 0.056),)),
    _Link(
        (0, 0, 0),
        -_Q,
        0.65,
        (-1.763, 1.763),
        87,
        (((0, 0, -0.06), (0, 0, 0.06), 0.056), ((0, 0, 0), (0, -0.13, 0), 0.052)),
    ),
    _Link(
        (0, -0.316, 0),
        _Q,
        3.23,
        (-2.897, 2.897),
        87,
        (((0, 0, -0.17), (0, 0, -0.07), 0.05), ((0, 0, -0.06), (0.08, 0, 0), 0.05)),
    ),
    _Link(
        (0.0825, 0, 0),
        _Q,
        3.59,
        (-3.072, -0.07),
        87,
        (((0, 0, -0.05), (0, 0, 0.05), 0.052), ((0, 0, 0), (-0.08, 0.1, 0), 0.048)),
    ),
    _Link((-0.0825, 0.384, 0), -_Q, 1.23, (-2.897, 2.897), 12, (((0, 0, -0.27), (0, 0.02, -0.03), 0.047),)),
    _Link(
        (0, 0, 0),
        _Q,
        1.67,
        (-0.017, 3.752),
        12,
        (((0, 0, -0.05), (0, 0, 0.03), 0.048), ((0, 0, 0), (0.07, 0, 0), 0.045)),
    ),
    _Link((0.088, 0, 0), _Q, 0.74, (-2.897, 2.897), 12, (((0, 0, -0.03), (0, 0, 0.075), 0.04),)),
)


class PandaArm(ToolRobot):
    """Commands are "current pose plus delta", so contact forces are bounded by stiffness times delta.

    ``actions`` "pose" takes three translations and three rotations, "yaw" three translations and the turn about the
    vertical while the hand is held upright.  With ``grip`` one more number opens (1) and closes (-1) the fingers;
    without it they are fixed in a closed pose around whatever the task attaches to the tool.  ``reach`` is how far
    (m) the tool point lies beyond the fingertips' pads.  ``step`` are the largest deltas of one action, m and rad.
    ``base`` is the arm's foot in the world.  The tool frame has z up, against the approach, and fingers along y.
    """

    def __init__(
        self,
        *,
        actions: Literal["pose", "yaw"] = "pose",
        grip: bool = False,
        reach: float = 0.049,
        step: tuple[float, float] = (0.01, 0.05),
        base: tuple[float, float, float] = (-0.5, 0.0, 0.0),
    ) -> None:
        self._upright, self._grip, self._reach, self._step, self._base = actions == "yaw", grip, reach, step, base
        self._deltas = 4 if self._upright else 6
        self.action_size = self._deltas + grip

    def build(self, spec: mujoco.MjSpec) -> mujoco.MjsBody:
        """Add arm, hand and actuators; returns the massless body whose origin is the tool point."""
        spec.compiler.degree = False
        foot = spec.worldbody.add_body(name="panda", pos=self._base)
        _capsule(foot, (-0.05, 0, 0.06), (0, 0, 0.06), 0.06, mass=1.0)
        _capsule(foot, (0, 0, 0.06), (0, 0, 0.14), 0.058, mass=1.0)
        parent = foot
        for index, link in enumerate(_LINKS):
            half = link.turn / 2
            parent = parent.add_body(
                name=f"link{index + 1}", pos=link.position, quat=[np.cos(half), np.sin(half), 0, 0]
            )
            parent.gravcomp = 1.0
            parent.add_joint(
                name=f"joint{index + 1}",
                axis=[0, 0, 1],
                range=link.limit,
                limited=True,
                armature=0.1 if index < 4 else 0.05,
                stiffness=_linear(POSTURE[0]),
                damping=_linear(POSTURE[1]),
                springref=HOME[index],
                actfrclimited=True,
                actfrcrange=[-link.torque, link.torque],
            )
            for start, end, radius in link.capsules:
                _capsule(parent, start, end, radius, mass=link.mass / len(link.capsules))
        holder = self._add_hand(spec, parent)
        spec.worldbody.add_site(name="origin")
        self._add_impedance(spec)
        return holder

    def _add_hand(self, spec: mujoco.MjSpec, flange: mujoco.MjsBody) -> mujoco.MjsBody:
        half = -np.pi / 8
        hand = flange.add_body(name="hand", pos=[0, 0, 0.107], quat=[np.cos(half), 0, 0, np.sin(half)])
        hand.gravcomp = 1.0
        box = mujoco.mjtGeom.mjGEOM_BOX
        hand.add_geom(
            name="palm", type=box, pos=[0, 0, 0.033], size=[0.022, 0.1, 0.025], mass=0.73, rgba=[0.9, 0.9, 0.92, 1]
        )
        for side in (-1, 1):
            owner = hand
            offset = [0.0, side * 0.0157, 0.0901]
            if self._grip:
                owner = hand.add_body(name=f"finger{side}", pos=[0, 0, 0.0584])
                owner.gravcomp = 1.0
                owner.add_joint(
                    name=f"finger{side}",
                    type=mujoco.mjtJoint.mjJNT_SLIDE,
                    axis=[0, side, 0],
                    range=[0, OPEN],
                    limited=True,
                    armature=0.1,
                    damping=_linear(2.0),
                )
                offset = [0.0, side * 0.0075, 0.0317]
                servo = spec.add_actuator(name=f"grip{side}")
                servo.trntype, servo.target = mujoco.mjtTrn.mjTRN_JOINT, f"finger{side}"
                _impedance(servo, *GRIP)
            owner.add_geom(
                type=box,
                pos=offset,
                size=[0.0105, 0.0075, 0.022],
                mass=0.015,
                rgba=[0.25, 0.27, 0.3, 1],
                friction=[1.0, 0.02, 1e-4],
                condim=4,
            )
        if self._grip:
            # the real fingers are coupled: a grasped thing stays in the middle of the hand
            pair = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1="finger-1", name2="finger1")
            pair.data[1] = 1.0
        holder = hand.add_body(name="tool", pos=[0, 0, _FINGERTIP + self._reach], quat=[0, 1, 0, 0])
        holder.gravcomp = 1.0
        holder.add_site(name=self.tool_site)
        return holder

    def _add_impedance(self, spec: mujoco.MjSpec) -> None:
        for axis in range(6):
            actuator = spec.add_actuator(name=f"impedance{axis}")
            actuator.trntype = mujoco.mjtTrn.mjTRN_SITE
            actuator.target, actuator.refsite = self.tool_site, "origin"
            actuator.gear = np.eye(6)[axis]
            _impedance(actuator, STIFFNESS[axis // 3], DAMPING[axis // 3], LIMIT[axis // 3])

    def bind(self, sim: BatchSim) -> None:
        """Connect to the running copies."""
        super().bind(sim)
        model = sim.model
        joints = [model.joint(f"joint{index + 1}") for index in range(7)]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._qvel = np.array([joint.dofadr[0] for joint in joints])
        self._limits = np.array([link.limit for link in _LINKS])
        first = model.actuator("impedance0").id
        self._impedance = slice(first, first + 6)
        self._body = model.body("tool").id
        if self._grip:
            self._finger_qpos = np.array([model.joint(f"finger{side}").qposadr[0] for side in (-1, 1)])
            self._finger_qvel = np.array([model.joint(f"finger{side}").dofadr[0] for side in (-1, 1)])
            self._servos = np.array([model.actuator(f"grip{side}").id for side in (-1, 1)])
        for field in ("site_xpos", "site_xmat", "actuator_length", "actuator_velocity", "actuator_force"):
            sim.view(field)

    def place(self, ids: np.ndarray, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> None:
        """Start copies at rest with the tool at these poses, fingers open, controller at equilibrium.

        Inverse kinematics by damped least squares from one fixed posture, so that a pose alone decides the joints.
        """
        qpos, ctrl = self.sim.view("qpos"), self.sim.view("ctrl")
        rows = ids[:, None]
        qpos[rows, self._qpos] = HOME
        if self._grip:
            qpos[rows, self._finger_qpos] = OPEN
            ctrl[rows, self._servos] = OPEN
        target_n4 = quat_from_rotvec(rotvec_n3)
        for _ in range(10):
            self.sim.forward(ids)
            error = np.concatenate(
                [
                    position_n3 - self.position[ids],
                    rotvec_from_quat(quat_multiply(target_n4, _conjugate(quat_from_matrix(self.rotation[ids])))),
                ],
                axis=1,
            )
            jacobian = np.concatenate(self.sim.jacobian(self._body, self.position[ids], ids), axis=1)[:, :, self._qvel]
            square = jacobian @ np.swapaxes(jacobian, 1, 2) + 1e-4 * np.eye(6)
            change = np.einsum("nij,ni->nj", jacobian, np.linalg.solve(square, error[..., None])[..., 0])
            moved = qpos[rows, self._qpos] + np.clip(change, -0.3, 0.3)
            qpos[rows, self._qpos] = np.clip(moved, self._limits[:, 0], self._limits[:, 1])
        self.sim.view("qvel")[rows, self._qvel] = 0.0
        ctrl[ids, self._impedance] = np.concatenate([position_n3, rotvec_n3], axis=1)

    def command(self, actions: np.ndarray) -> None:
        """Target = current pose + delta in the tool's frame, with deltas up to ``step``; fingers as the class says."""
        pose, ctrl = self.sim.view("actuator_length")[:, self._impedance], self.sim.view("ctrl")
        actions = actions.astype(float)
        position = pose[:, :3] + rotate(self.rotation, self._step[0] * actions[:, :3])
        if self._upright:
            turned = np.zeros_like(position)
            turned[:, 2] = np.clip(pose[:, 5] + self._step[1] * actions[:, 3], -3.0, 3.0)
        else:
            delta = quat_from_rotvec(self._step[1] * actions[:, 3:6])
            turned = rotvec_from_quat(quat_multiply(quat_from_rotvec(pose[:, 3:]), delta))
        ctrl[:, self._impedance] = np.concatenate([position, turned], axis=1)
        if self._grip:
            ctrl[:, self._servos] = 0.5 * OPEN * (1.0 + actions[:, self._deltas :])

    @property
    def twist(self) -> np.ndarray:
        """Linear and angular velocity of the tool along the world's axes, (N, 6)."""
        return self.sim.view("actuator_velocity")[:, self._impedance]

    @property
    def force(self) -> np.ndarray:
        """Forces and torques of the impedance along the world's axes, (N, 6)."""
        return self.sim.view("actuator_force")[:, self._impedance]

    @property
    def fingers(self) -> np.ndarray:
        """How far each finger is open, 0 to ``OPEN`` m, (N, 2)."""
        return self.sim.view("qpos")[:, self._finger_qpos]

    @property
    def squeeze(self) -> np.ndarray:
        """Closing force (N) of each finger's servo as its position, speed and command give it, (N, 2)."""
        lag = self.fingers - self.sim.view("ctrl")[:, self._servos]
        force = GRIP[0] * lag + GRIP[1] * self.sim.view("qvel")[:, self._finger_qvel]
        return np.clip(force, -GRIP[2], GRIP[2])


def _capsule(
    body: mujoco.MjsBody, start: tuple[float, ...], end: tuple[float, ...], radius: float, *, mass: float
) -> None:
    """A link's shape: seen and weighed, but never touched (only hand and fingers collide)."""
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*start, *end],
        size=[radius, 0, 0],
        mass=mass,
        contype=0,
        conaffinity=0,
        group=1,
        rgba=[0.93, 0.93, 0.95, 1],
    )


def _impedance(actuator: mujoco.MjsActuator, stiffness: float, damping: float, limit: float) -> None:
    actuator.gaintype, actuator.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    actuator.gainprm[0], actuator.biasprm[1], actuator.biasprm[2] = stiffness, -stiffness, -damping
    actuator.forcelimited, actuator.forcerange = True, [-limit, limit]


def _linear(coefficient: float) -> list[float]:
    """MuJoCo keeps stiffness and damping as polynomials; this is the linear one."""
    return [coefficient, 0.0, 0.0]


def _conjugate(quat_N4: np.ndarray) -> np.ndarray:
    return quat_N4 * [1.0, -1.0, -1.0, -1.0]

"""Two coupled fingers that slide along y: the Panda's, and those of anything else that shall hold what it holds."""

from __future__ import annotations

import mujoco
import numpy as np
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.robots.base import add_impedance

OPEN = 0.04  # m, travel of each finger
GRIP = (1000.0, 20.0, 20.0)  # N/m, N s/m, N: each finger's position servo and its limit
FINGER_DAMPING = 2.0  # N s/m
PAD = (0.0105, 0.0075, 0.022)  # m, half-sizes of a finger
PAD_MASS = 0.015  # kg
_SIDES = (-1, 1)


def add_fingers(spec: mujoco.MjSpec, hand: mujoco.MjsBody, *, slide: float, pad: float, damping: float) -> None:
    """Add both fingers and their servos to ``hand``; their joints lie at height ``slide``, their pads ``pad`` above.

    ``damping`` (N s/m) is that of each finger's own joint.
    """
    for side in _SIDES:
        finger = hand.add_body(name=f"finger{side}", pos=[0, 0, slide])
        finger.gravcomp = 1.0
        finger.add_joint(
            name=f"finger{side}",
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=[0, side, 0],
            range=[0, OPEN],
            limited=True,
            armature=0.1,
            damping=[damping, 0.0, 0.0],
        )
        servo = spec.add_actuator(name=f"grip{side}")
        servo.trntype, servo.target = mujoco.mjtTrn.mjTRN_JOINT, f"finger{side}"
        add_impedance(servo, *GRIP)
        add_pad(finger, [0.0, side * PAD[1], pad])
    # the real fingers are coupled: a grasped thing stays in the middle of the hand
    pair = spec.add_equality(type=mujoco.mjtEq.mjEQ_JOINT, name1="finger-1", name2="finger1")
    pair.data[1] = 1.0


def add_pad(body: mujoco.MjsBody, position: list[float]) -> None:
    """The shape of one finger, with the friction of a rubber pad."""
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=position,
        size=PAD,
        mass=PAD_MASS,
        rgba=[0.25, 0.27, 0.3, 1],
        friction=[1.0, 0.02, 1e-4],
        condim=4,
    )


class Fingers:
    """Both fingers in the running copies."""

    def __init__(self, sim: BatchSim) -> None:
        model = sim.model
        self._sim = sim
        self._qpos = np.array([model.joint(f"finger{side}").qposadr[0] for side in _SIDES])
        self._qvel = np.array([model.joint(f"finger{side}").dofadr[0] for side in _SIDES])
        self._servos = np.array([model.actuator(f"grip{side}").id for side in _SIDES])

    def place(self, ids: np.ndarray) -> None:
        """Start copies with open fingers, at rest."""
        rows = ids[:, None]
        self._sim.view("qpos")[rows, self._qpos] = OPEN
        self._sim.view("ctrl")[rows, self._servos] = OPEN

    def command(self, opening_N1: np.ndarray) -> None:
        """Goal from closed (-1) to open (1)."""
        self._sim.view("ctrl")[:, self._servos] = 0.5 * OPEN * (1.0 + opening_N1)

    @property
    def opening(self) -> np.ndarray:
        """How far each finger is open, 0 to ``OPEN`` m, (N, 2)."""
        return self._sim.view("qpos")[:, self._qpos]

    @property
    def squeeze(self) -> np.ndarray:
        """Closing force (N) of each finger's servo as its position, speed and command give it, (N, 2)."""
        return squeeze(self.opening, self._sim.view("qvel")[:, self._qvel], self._sim.view("ctrl")[:, self._servos])


def squeeze(fingers_N2: np.ndarray, speed_N2: np.ndarray, goal_N2: np.ndarray) -> np.ndarray:
    """Closing force (N) of each finger's servo at this opening (m), speed (m/s) and commanded opening (m)."""
    return np.clip(GRIP[0] * (fingers_N2 - goal_N2) + GRIP[1] * speed_N2, -GRIP[2], GRIP[2])

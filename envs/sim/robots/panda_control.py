"""How a Panda is controlled, in whatever engine: inverse kinematics and the target of an action."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from embodkd.envs.geometry import (
    quat_from_matrix,
    quat_from_rotvec,
    quat_multiply,
    rotate,
    rotvec_about_z,
    turn_between,
)
from embodkd.envs.sim.robots.panda_model import HOME, LINKS

STIFFNESS = (1200.0, 60.0)  # N/m, Nm/rad
DAMPING = (100.0, 4.0)  # with POSTURE a settling time near one control period of 48 ms, no overshoot
LIMIT = (60.0, 10.0)  # N, Nm
_JOINT_LIMITS = np.array([link.limit for link in LINKS])

# joints (n, 7) -> the tool's position (n, 3) and rotation (n, 3, 3), and its Jacobian (n, 6, 7) along the world's axes
Kinematics = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def reach(kinematics: Kinematics, position_n3: np.ndarray, rotvec_n3: np.ndarray) -> np.ndarray:
    """Joints (n, 7) that bring the tool to these poses.

    Damped least squares from one fixed posture, so that a pose alone decides the joints.
    """
    joints_n7 = np.tile(HOME, (len(position_n3), 1))
    target_n4 = quat_from_rotvec(rotvec_n3)
    for _ in range(10):
        position, rotation, jacobian = kinematics(joints_n7)
        turn = rotate(rotation, turn_between(quat_from_matrix(rotation), target_n4))
        error = np.concatenate([position_n3 - position, turn], axis=1)
        square = jacobian @ np.swapaxes(jacobian, 1, 2) + 1e-4 * np.eye(6)
        change = np.einsum("nij,ni->nj", jacobian, np.linalg.solve(square, error[..., None])[..., 0])
        joints_n7 = np.clip(joints_n7 + np.clip(change, -0.3, 0.3), _JOINT_LIMITS[:, 0], _JOINT_LIMITS[:, 1])
    return joints_n7


def target(
    position_N3: np.ndarray,
    rotation_N33: np.ndarray,
    deltas_NA: np.ndarray,
    step: tuple[float, float],
    *,
    upright: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the impedance shall pull, position (N, 3) and quaternion (N, 4): the tool's pose plus an action's deltas
    in the tool's frame.

    ``upright`` takes three translations and the turn about the vertical and holds the hand upright; otherwise there are
    three translations and three rotations.
    """
    position = position_N3 + rotate(rotation_N33, step[0] * deltas_NA[:, :3])
    if upright:
        yaw = np.arctan2(rotation_N33[:, 1, 0], rotation_N33[:, 0, 0])
        return position, quat_from_rotvec(rotvec_about_z(yaw + step[1] * deltas_NA[:, 3]))
    delta = quat_from_rotvec(step[1] * deltas_NA[:, 3:6])
    return position, quat_multiply(quat_from_matrix(rotation_N33), delta)

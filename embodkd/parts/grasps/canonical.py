"""The state as if the object had always been turned alike (UniDexGrasp's state canonicalisation, section 5.1).

One yaw per episode, that of the wanted grasp; what is said along the world's axes is turned back by it about the
world's origin, and what the wrist does is turned forth. Heights stay. So a policy that sees and acts through here does
the turned thing in a turned scene.
"""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.parts.grasps.rotations import about, conjugate, from_euler, matrix_of, multiply, yaw_of

# the released task at 60 Hz: newtons and newton metres of an action of 1
FORCE, TORQUE = 0.5 * 1e5 / 60.0, 0.1 * 1e3 / 60.0
PALM_DOWN = 1.57  # rad about x at the start; the released code's half turn of the palm


def episode_yaw(object_N4: Tensor, goal_N4: Tensor) -> Tensor:
    """The yaw (N,) of an episode: that of the goal's rotation in the object, as the object stands at its start."""
    return yaw_of(multiply(object_N4, goal_N4))


def canonical_vector(vector_N3: Tensor, yaw_N: Tensor) -> Tensor:
    """Positions, velocities, differences (N, ..., 3) along the world's axes, turned back by each episode's yaw."""
    turn_N33 = about("z", -yaw_N)
    return torch.einsum("nij,n...j->n...i", turn_N33, vector_N3)


def canonical_rotation(quat_N4: Tensor, yaw_N: Tensor) -> Tensor:
    """Rotations (N, 4) turned back."""
    back_N3 = torch.stack([torch.zeros_like(yaw_N), torch.zeros_like(yaw_N), -yaw_N], -1)
    return multiply(from_euler(back_N3), quat_N4)


def worldly(vector_N3: Tensor, yaw_N: Tensor) -> Tensor:
    """What a policy says along canonical axes, along the world's: forces, torques, steps of the wrist."""
    return canonical_vector(vector_N3, -yaw_N)


def wrench(action_N6: Tensor, yaw_N: Tensor) -> Tensor:
    """Force (N) and torque (N m) along the world's axes (N, 6) of the wrist's part of an action, clipped to 1."""
    bounded_N6 = action_N6.clamp(-1.0, 1.0)
    force_N3, torque_N3 = FORCE * bounded_N6[:, :3], TORQUE * bounded_N6[:, 3:]
    return torch.cat([worldly(force_N3, yaw_N), worldly(torque_N3, yaw_N)], -1)


def start_rotation(yaw_N: Tensor) -> Tensor:
    """The hand's rotation (N, 4) at the start: palm down, and already turned to the goal's yaw."""
    zero_N = torch.zeros_like(yaw_N)
    return from_euler(torch.stack([zero_N + PALM_DOWN, zero_N, yaw_N], -1))


def palm_point(position_N3: Tensor, rotation_N4: Tensor) -> Tensor:
    """The middle of the palm (N, 3), 8 cm along the palm's z and -2 cm along its y."""
    offset_3 = position_N3.new_tensor([0.0, -0.02, 0.08])
    return position_N3 + matrix_of(rotation_N4) @ offset_3


def goal_differences(
    palm_N3: Tensor,
    palm_N4: Tensor,
    object_N3: Tensor,
    object_N4: Tensor,
    goal_N3: Tensor,
    goal_N4: Tensor,
) -> tuple[Tensor, Tensor]:
    """What the palm lacks to the wanted grasp, in the object's own axes: place (N, 3) and rotation (N, 4).

    A student's are measured against the object as it stood at the start, never as it is now: that is privileged.
    """
    in_object_N3 = torch.einsum("nji,nj->ni", matrix_of(object_N4), palm_N3 - object_N3)
    turned_N4 = multiply(conjugate(object_N4), palm_N4)
    return in_object_N3 - goal_N3, multiply(turned_N4, conjugate(goal_N4))

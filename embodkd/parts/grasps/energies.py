"""What a grasp costs, each a sum per hand (N,): touching elsewhere, reaching into the object, the table or itself
(UniDexGrasp, supplement; the numbers are those of its released code), and what synthesis asks for (DexGraspNet, 3).

Distances are signed, in metres, positive inside.
"""

from __future__ import annotations

import torch
from torch import Tensor

TABLE_GAP = 0.01  # metres that keypoints stay above the table
KEYPOINT_GAP = 0.02  # metres between keypoints
ADAPTING = {"cmap": 0.07, "pen": 10000.0, "tpen": 1000.0, "spen": 10.0}  # weights at test time
JOINT_STAGE = {"cmap": 0.02, "pen": 500.0, "tpen": 50.0, "spen": 10.0}  # weights of the second stage of training
SYNTHESIS = {"closure": 1.0, "distance": 100.0, "pen": 100.0, "spen": 10.0, "joints": 1.0}  # from memory, says the card


def contact_energy(contact_NP: Tensor, wanted_NP: Tensor) -> Tensor:
    """Squared differences of contacts, summed over points."""
    return (contact_NP - wanted_NP).square().sum(-1)


def capsule_distance(point_P3: Tensor, radius: Tensor, length: Tensor) -> Tensor:
    """How deep points (..., 3) are inside a capsule along its local z from 0 to `length`, negative outside."""
    along = torch.minimum(point_P3[..., 2].clamp(min=0.0), length)
    rest = torch.stack([point_P3[..., 0], point_P3[..., 1], point_P3[..., 2] - along], -1)
    return radius - torch.linalg.vector_norm(rest, dim=-1)


def capsule_penetration(point_P3: Tensor, radius: Tensor, length: Tensor, thumb: bool = False) -> Tensor:
    """Squared distance (...) of points inside a finger to the line along its back, y = -radius (a thumb: x = -radius).

    Not to the nearest surface: whoever is inside a finger shall leave it by the inner side. Points outside are 0.
    """
    along = torch.minimum(point_P3[..., 2].clamp(min=0.0), length)
    x, y = point_P3[..., 0], point_P3[..., 1]
    across = (x + radius).square() + y.square() if thumb else x.square() + (y + radius).square()
    inside = capsule_distance(point_P3, radius, length) > 0
    return torch.where(inside, across + (point_P3[..., 2] - along).square(), 0.0)


def penetration_energy(depth_NP: Tensor) -> Tensor:
    """Squared depths of points that are inside, summed over points."""
    return depth_NP.clamp(min=0.0).square().sum(-1)


def table_energy(keypoint_NK3: Tensor, height: float = 0.0) -> Tensor:
    """What keypoints lack to 1 cm above the table, summed."""
    return (TABLE_GAP - (keypoint_NK3[..., 2] - height)).clamp(min=0.0).sum(-1)


def self_energy(keypoint_NK3: Tensor) -> Tensor:
    """What keypoints lack to 2 cm from each other, summed over ordered pairs: each pair counts twice."""
    count = keypoint_NK3.shape[-2]
    first, second = torch.triu_indices(count, count, 1, device=keypoint_NK3.device)
    apart_NR = torch.linalg.vector_norm(keypoint_NK3[..., first, :] - keypoint_NK3[..., second, :], dim=-1)
    return 2.0 * (KEYPOINT_GAP - apart_NR).clamp(min=0.0).sum(-1)


def closure_energy(contact_NC3: Tensor, normal_NC3: Tensor, centre_N3: Tensor | None = None) -> Tensor:
    """|G c|^2: the net force and torque of unit pushes along the inward normals at the contacts (DexGraspNet, eq. 2).

    Torques are about `centre`, the origin by default; 0 where pushes hold each other.
    """
    arm_NC3 = contact_NC3 if centre_N3 is None else contact_NC3 - centre_N3[:, None]
    torque_N3 = torch.linalg.cross(arm_NC3, normal_NC3).sum(1)
    return normal_NC3.sum(1).square().sum(-1) + torque_N3.square().sum(-1)


def distance_energy(signed_NC: Tensor) -> Tensor:
    """How far the candidates of contact are from the surface, summed."""
    return signed_NC.abs().sum(-1)


def joint_energy(joint_NJ: Tensor, low_J: Tensor, high_J: Tensor) -> Tensor:
    """By how much joints are beyond their limits, rad, summed."""
    return ((joint_NJ - high_J).clamp(min=0.0) + (low_J - joint_NJ).clamp(min=0.0)).sum(-1)


def weighted(parts: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The sum (N,) of energies by name. ValueError for a name without weight."""
    if missing := sorted(set(parts) - set(weights)):
        raise ValueError(f"energies: no weight for {', '.join(missing)}; there is one for {', '.join(sorted(weights))}")
    return torch.stack([weights[name] * value_N for name, value_N in parts.items()]).sum(0)

"""What must not be touched: points of an object, the penalty for fingertips near them, and the score that counts them.

Points N are given in the object's own axes, where they never change, and move with it. The released grasp task has no
such term; the paper has (AffordDex, stage 2), and writes the score the wrong way round: less is better, so tips inside
count.
"""

from __future__ import annotations

import torch
from torch import Tensor

PENALTY, PENALISED_WITHIN = 10.0, 0.03  # per tip and step; metres
SCORED_WITHIN, CONTACT_STEPS = 0.02, 20  # metres; the last steps of an episode
TARGET_WITHIN = 0.05


def moved(point_NP3: Tensor, place_N3: Tensor, rotation_N33: Tensor) -> Tensor:
    """Points (N, P, 3) in the world, of an object that stands at `place`, turned by `rotation`."""
    return torch.einsum("nij,npj->npi", rotation_N33, point_NP3) + place_N3[:, None]


def tip_distances(tip_NK3: Tensor, point_NP3: Tensor, there_NP: Tensor) -> Tensor:
    """(N, K) metres from each fingertip to the nearest point that is no padding; infinite where there is none.

    Leave out copies that have diverged: what is no number is near nothing.
    """
    apart_NKP = torch.linalg.vector_norm(tip_NK3[:, :, None] - point_NP3[:, None], dim=-1)
    apart_NKP = apart_NKP.masked_fill(~there_NP[:, None], torch.inf)
    none_NK1 = apart_NKP.new_full((*apart_NKP.shape[:2], 1), torch.inf)  # a cloud may have no points at all
    return torch.cat([apart_NKP, none_NK1], -1).amin(-1)


def penalty(distance_NK: Tensor, weight: float = PENALTY) -> Tensor:
    """(N,): `weight` for each tip nearer than 3 cm; 0 for an object that may be touched anywhere."""
    return weight * (distance_NK < PENALISED_WITHIN).to(distance_NK.dtype).sum(-1)


def residual_reward(
    palm_N3: Tensor, object_N3: Tensor, target_N3: Tensor, distance_NK: Tensor, weight: float = PENALTY
) -> Tensor:
    """-|h - o| - |o - g| + 1[|o - g| < 5 cm] - penalty, (N,): the paper's terms, with signs that make sense."""
    to_object_N = torch.linalg.vector_norm(palm_N3 - object_N3, dim=-1)
    to_target_N = torch.linalg.vector_norm(object_N3 - target_N3, dim=-1)
    there_N = (to_target_N < TARGET_WITHIN).to(to_target_N.dtype)
    return -to_object_N - to_target_N + there_N - penalty(distance_NK, weight)


def affordance_score(distance_ETK: Tensor, last: int = CONTACT_STEPS) -> Tensor:
    """100 times the share (E,) of the last steps and the tips that are within 2 cm of N, per episode: 0 is best."""
    return 100.0 * (distance_ETK[:, -last:] < SCORED_WITHIN).double().mean((1, 2))


def touched(distance_ETK: Tensor) -> Tensor:
    """Whether any tip ever came within 2 cm of N, bool (E,)."""
    return (distance_ETK < SCORED_WITHIN).any(-1).any(-1)


def intersection_over_union(told_NP: Tensor, true_NP: Tensor) -> Tensor:
    """(N,) of two sets of points, bool (N, P); 1 where both are empty."""
    both_N, either_N = (told_NP & true_NP).sum(1), (told_NP | true_NP).sum(1)
    return torch.where(either_N > 0, both_N / either_N.clamp(min=1), 1.0)

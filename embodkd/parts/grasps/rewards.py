"""What the released tasks of UniDexGrasp pay, to the letter: four variants that differ in weights and gates.

Gates are distances, not contacts; limits count as inside. In the goal-conditioned state task the bonus asks for no
hand: an object that is thrown onto the target earns it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from embodkd.parts.grasps.rotations import angle_of

FAR_TIPS, FAR_PALM = 3.0, 0.5  # metres at which distances are cut
NEAR_TIPS, NEAR_PALM = 0.6, 0.12  # metres: the hand is at the object
TABLE, TARGET = 0.6, (0.0, 0.0, 0.9)  # metres
BONUS_WITHIN = 0.05


@dataclass(frozen=True)
class Variant:
    """Weights of what lacks to the wanted grasp (place, rotation, joints), its limits, what opens lift and bonus."""

    weights: tuple[float, float, float] | None  # None: no wanted grasp
    limits: tuple[float, float, float] | None
    lift_at_goal: bool  # lifting is paid at the wanted grasp only, else wherever the hand is at the object
    fixed_height: float | None  # None: 3 mm above where the object lies at the start
    bonus_needs_hand: bool


VARIANTS = {
    "state_goal": Variant((0.6, 0.04, 0.1), (0.4, 1.0, 6.0), False, None, False),
    "state": Variant(None, None, False, 0.63, True),
    "vision_goal": Variant((0.3, 0.04, 0.02), (0.6, 1.8, 9.0), True, None, True),
    "vision": Variant(None, None, False, None, True),
}


@dataclass(frozen=True)
class GraspState:
    """What is paid for: places in metres, N copies.

    object (N, 3); target (N, 3); palm (N, 3); tips (N, 5, 3); place (N, 3), rotation (N, 3, the vector part of a
    quaternion) and joints (N, J, rad): what the hand lacks to the wanted grasp; up (N,): the vertical action, cut to 1;
    lies (N,): height of the object above the table at the start.
    """

    object: Tensor
    target: Tensor
    palm: Tensor
    tips: Tensor
    place: Tensor
    rotation: Tensor
    joints: Tensor
    up: Tensor
    lies: Tensor


def grasp_reward(state: GraspState, variant: str) -> Tensor:
    """The reward (N,) of one step. ValueError for an unknown variant."""
    if variant not in VARIANTS:
        raise ValueError(f"grasp reward: no variant {variant!r}; there are {', '.join(VARIANTS)}")
    how = VARIANTS[variant]
    tips_N = torch.linalg.vector_norm(state.tips - state.object[:, None], dim=-1).sum(1).clamp(max=FAR_TIPS)
    palm_N = torch.linalg.vector_norm(state.palm - state.object, dim=-1).clamp(max=FAR_PALM)
    away_N = torch.linalg.vector_norm(state.object - state.target, dim=-1)
    near_N = (tips_N <= NEAR_TIPS) & (palm_N <= NEAR_PALM)
    lacks_N, at_goal_N = torch.zeros_like(tips_N), near_N
    if how.weights is not None and how.limits is not None:
        full = torch.cat([state.rotation, torch.zeros_like(state.rotation[:, :1])], 1)
        parts_N3 = torch.stack([state.place.abs().sum(1), angle_of(full), state.joints.abs().sum(1)], 1)
        lacks_N = parts_N3 @ parts_N3.new_tensor(how.weights)
        at_goal_N = near_N & (parts_N3 <= parts_N3.new_tensor(how.limits)).all(1)
    height_N = state.object[:, 2]
    risen_N = height_N >= (0.003 + TABLE + state.lies if how.fixed_height is None else how.fixed_height)
    lift_N = torch.where(risen_N, 0.1 + 0.1 * state.up, 0.0)
    lift_N = torch.where(height_N >= 0.8, 0.2, lift_N)
    lift_N = torch.where(at_goal_N if how.lift_at_goal else near_N, lift_N, 0.0)
    bonus_N = torch.where(away_N <= BONUS_WITHIN, 1.0 / (1.0 + 10.0 * away_N), 0.0)
    if how.bonus_needs_hand:
        bonus_N = torch.where(near_N, bonus_N, 0.0)
    reached_N = torch.where(at_goal_N, 0.9 - 2.0 * away_N, 0.0)
    return -0.5 * tips_N - palm_N - 0.5 * lacks_N + reached_N + lift_N + bonus_N

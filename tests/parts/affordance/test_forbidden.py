"""What must not be touched."""

from __future__ import annotations

import pytest
import torch

from embodkd.parts.affordance.forbidden import (
    affordance_score,
    intersection_over_union,
    moved,
    penalty,
    residual_reward,
    tip_distances,
    touched,
)
from embodkd.parts.grasps.rotations import random_rotations

POINTS = torch.zeros(1, 1, 3)
THERE = torch.ones(1, 1, dtype=torch.bool)


def _tips(*away: float) -> torch.Tensor:
    return torch.tensor([[[x, 0.0, 0.0] for x in away]])


def test_one_tip_within_three_centimetres_costs_exactly_the_weight() -> None:
    palm, thing, target = torch.zeros(1, 3), torch.tensor([[0.1, 0, 0]]), torch.tensor([[0.1, 0, 0.2]])

    def reward(*away: float) -> float:
        return float(residual_reward(palm, thing, target, tip_distances(_tips(*away), POINTS, THERE)))

    assert reward(0.029, 0.2) - reward(0.031, 0.2) == pytest.approx(-10)
    assert reward(0.029, 0.029) - reward(0.031, 0.031) == pytest.approx(-20)
    assert reward(0.031) == pytest.approx(-0.1 - 0.2)


def test_an_object_without_forbidden_points_is_paid_as_if_there_was_no_penalty() -> None:
    tips = _tips(0.0, 0.01)
    for points, there in ((POINTS, ~THERE), (POINTS[:, :0], THERE[:, :0])):
        distance = tip_distances(tips, points, there)
        assert distance.isinf().all() and not penalty(distance).any()


def test_moving_everything_leaves_all_but_the_way_to_the_target() -> None:
    palm, thing, tips, points = (
        torch.randn(4, 3),
        torch.randn(4, 3),
        torch.randn(4, 5, 3) * 0.05,
        torch.randn(4, 9, 3) * 0.05,
    )
    there, by = torch.ones(4, 9, dtype=torch.bool), torch.tensor([1.0, -2.0, 0.5])
    before = residual_reward(palm, thing, thing, tip_distances(tips, points, there))
    after = residual_reward(palm + by, thing + by, thing + by, tip_distances(tips + by, points + by, there))
    assert torch.allclose(before, after, atol=1e-5)


def test_points_move_with_their_object_and_the_score_does_not_see_it() -> None:
    rotation, place = random_rotations(3, torch.zeros(()).double()), torch.randn(3, 3).double()
    points, tips = torch.randn(3, 8, 3).double(), torch.randn(3, 5, 3).double()
    there = torch.rand(3, 8) > 0.3
    plain = tip_distances(tips, points, there)
    assert torch.allclose(tip_distances(moved(tips, place, rotation), moved(points, place, rotation), there), plain)


def test_nobody_near_scores_nothing_and_all_on_it_a_hundred_and_only_the_end_counts() -> None:
    far, near = torch.full((1, 75, 5), 0.5), torch.zeros(1, 75, 5)
    assert float(affordance_score(far)) == 0 and float(affordance_score(near)) == 100
    mixed = near.clone()
    mixed[:, -20:] = 0.5
    assert float(affordance_score(mixed)) == 0 and bool(touched(mixed))
    mixed[0, -1, 0] = 0.0199
    assert float(affordance_score(mixed)) == pytest.approx(100 / (20 * 5)) and not bool(touched(far))


def test_overlap_of_sets_of_points() -> None:
    told = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    true = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]]).bool()
    assert intersection_over_union(told, true).tolist() == pytest.approx([1 / 3, 1, 0, 1])

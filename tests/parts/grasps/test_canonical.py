"""A turned scene looks the same, and is acted on in the same way, turned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from embodkd.parts.grasps.canonical import (
    canonical_rotation,
    canonical_vector,
    episode_yaw,
    goal_differences,
    palm_point,
    start_rotation,
    worldly,
    wrench,
)
from embodkd.parts.grasps.rotations import angle_of, from_euler, multiply

YAW = torch.tensor([0.7], dtype=torch.float64)


def _row(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def _close(found: Tensor, *numbers: float) -> None:
    assert found.flatten().tolist() == pytest.approx(list(numbers), abs=1e-6)


def test_the_cards_figures() -> None:
    _close(worldly(_row(1, 2, 3), -YAW), 2.053278, 0.885467, 3)
    found = wrench(_row(0.5, -0.2, 0.3, 0.1, 0.2, -0.3), YAW)
    _close(found[:, :3], 426.053859, 140.950338, 250)
    _close(found[:, 3:], -0.087266, 0.362317, -0.5)
    start = start_rotation(YAW)
    _close(start, 0.663972, 0.242369, 0.242562, 0.664501)
    _close(canonical_rotation(start, YAW), 0.706825, 0, 0, 0.707388)
    _close(palm_point(_row(0, 0, 0.8), start), 0.051548, -0.061200, 0.780064)
    in_world, goal = from_euler(_row(0.1, -0.2, 0.5)), from_euler(_row(1.2, 0.3, -0.4))
    _close(episode_yaw(in_world, goal), 0.148240)
    place, turn = goal_differences(
        _row(0.05, 0.02, 0.70), start, _row(0.02, -0.01, 0.65), in_world, _row(0.03, -0.02, 0.06), goal
    )
    _close(place, 0.019832, 0.035970, -0.020481)
    _close(turn, 0.143893, -0.057751, 0.246242, 0.956726)
    _close(angle_of(turn), 0.590524)


def _turned(vector: Tensor, quat: Tensor, by: Tensor) -> tuple[Tensor, Tensor]:
    zero = torch.zeros_like(by)
    return worldly(vector, by), multiply(from_euler(torch.stack([zero, zero, by], -1)), quat)


def test_a_scene_that_is_turned_as_a_whole_is_observed_alike() -> None:
    torch.manual_seed(0)
    count = 64
    place, by = torch.randn(count, 3).double(), 3 * torch.rand(count).double()
    thing = torch.nn.functional.normalize(torch.randn(count, 4).double(), dim=-1)
    goal = torch.nn.functional.normalize(torch.randn(count, 4).double(), dim=-1)
    turned_place, turned_thing = _turned(place, thing, by)
    yaw, turned_yaw = episode_yaw(thing, goal), episode_yaw(turned_thing, goal)
    assert torch.allclose(canonical_vector(place, yaw), canonical_vector(turned_place, turned_yaw), atol=1e-9)
    a, b = canonical_rotation(thing, yaw), canonical_rotation(turned_thing, turned_yaw)
    assert torch.allclose(a * a[:, 3:].sign(), b * b[:, 3:].sign(), atol=1e-9)
    # the hand's way to its goal in the object's axes needs no yaw at all
    palm, hand = torch.randn(count, 3).double(), thing.roll(1, 0)
    turned_palm, turned_hand = _turned(palm, hand, by)
    told = goal_differences(palm, hand, place, thing, place, goal)
    again = goal_differences(turned_palm, turned_hand, turned_place, turned_thing, place, goal)
    assert torch.allclose(told[0], again[0]) and torch.allclose(told[1], again[1])


def test_the_same_action_in_a_turned_scene_is_the_turned_motion() -> None:
    action, by = torch.randn(8, 6).double(), torch.full((8,), 0.9).double()
    yaw = torch.randn(8).double()
    plain, turned = wrench(action, yaw), wrench(action, yaw + by)
    assert torch.allclose(worldly(plain[:, :3], by), turned[:, :3]) and torch.allclose(
        worldly(plain[:, 3:], by), turned[:, 3:]
    )
    assert plain[:, :3].norm(dim=1).max() <= 3**0.5 * 834


def test_clouds_turn_point_by_point_and_heights_stay() -> None:
    cloud = torch.randn(2, 10, 3).double()
    yaw = torch.tensor([0.3, -2.0]).double()
    turned = canonical_vector(cloud, yaw)
    assert torch.allclose(turned[..., 2], cloud[..., 2])
    assert torch.allclose(turned[1, 4], canonical_vector(cloud[1:2, 4], yaw[1:])[0])
    assert torch.allclose(worldly(turned, yaw), cloud)

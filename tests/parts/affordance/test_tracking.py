"""What an imitator is paid."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.parts.affordance.tracking import (
    BEST,
    TERMS,
    Errors,
    lost,
    mad,
    start_frames,
    tightening,
    tracking_reward,
    turn_between,
)

NONE = Errors(*(torch.zeros(1) for _ in fields(Errors)))


def test_the_clip_itself_without_effort_pays_the_sum_of_all_weights() -> None:
    assert pytest.approx(2.45) == BEST and float(tracking_reward(NONE)) == pytest.approx(2.45)


@given(st.sampled_from(sorted(TERMS)), st.floats(0, 3))
def test_each_term_alone_lies_between_nothing_and_its_weight(name: str, error: float) -> None:
    paid = 2.45 - float(tracking_reward(replace(NONE, **{name: torch.tensor([error], dtype=torch.float64)})))
    weight, steepness = TERMS[name]
    assert paid == pytest.approx(weight * (1 - math.exp(-steepness * error)), abs=1e-6)


def test_distances_count_not_their_squares() -> None:
    near = replace(NONE, second=torch.tensor([0.01]))
    assert float(tracking_reward(NONE) - tracking_reward(near)) == pytest.approx(0.8 * (1 - math.exp(-0.4)), abs=1e-6)


def test_a_turn_is_the_same_whichever_sign_its_quaternion_has() -> None:
    quat = torch.nn.functional.normalize(torch.randn(20, 4), dim=-1)
    other = torch.nn.functional.normalize(torch.randn(20, 4), dim=-1)
    assert torch.equal(turn_between(quat, other), turn_between(-quat, other))
    assert turn_between(quat, quat).max() < 2e-3 and turn_between(quat, other).max() <= math.pi
    half = torch.tensor([[0.0, 0.0, math.sin(0.3), math.cos(0.3)]], dtype=torch.float64)
    assert float(turn_between(half, torch.tensor([[0.0, 0, 0, 1]]).double())) == pytest.approx(0.6)


def test_limits_tighten_and_count_only_after_the_first_steps() -> None:
    assert tightening(0) == 1.0 and tightening(1e6) == pytest.approx(0.7)
    assert tightening(3000) == pytest.approx(0.7 + 0.3 / (2 * math.e))
    far = replace(NONE, first=torch.tensor([0.2]))
    assert not lost(far, torch.tensor([51]), 0).any() and lost(far, torch.tensor([51]), 1e6).all()
    assert not lost(far, torch.tensor([50]), 1e6).any()


def test_a_simulation_gone_wrong_is_seen_at_any_step() -> None:
    slow = torch.zeros(1)
    assert not mad(slow, slow, slow, slow).any()
    for i, limit in enumerate((100.0, 200.0, 100.0, 200.0)):
        speeds = [slow] * 4
        speeds[i] = torch.tensor([limit + 1])
        assert mad(*speeds).all()


def test_clips_begin_anywhere_but_in_the_last_frames() -> None:
    frames = start_frames(torch.full((5000,), 200), torch.Generator().manual_seed(0))
    assert frames.min() == 0 and frames.max() == 195 and abs(float(frames.double().mean()) - 97.5) < 3

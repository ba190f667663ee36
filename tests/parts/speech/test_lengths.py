"""Between phonemes and frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.parts.speech.lengths import frames_of, mean_per_phoneme, owners, regulated, scaled_gradient

DURATIONS = st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=4)


@given(DURATIONS)
def test_each_state_stands_as_often_as_its_duration_says_and_zeros_behind(rows: list[list[int]]) -> None:
    duration_NX = torch.tensor(rows)
    state_NXD = torch.randn(len(rows), 3, 2)
    long_NTD, there_NT = regulated(state_NXD, duration_NX)
    for n, row in enumerate(rows):
        expected = state_NXD[n].repeat_interleave(duration_NX[n], 0)
        assert torch.equal(long_NTD[n, : sum(row)], expected) and int(there_NT[n].sum()) == sum(row)
        assert not long_NTD[n, sum(row) :].any()


def test_durations_of_one_change_nothing() -> None:
    state_NXD = torch.randn(2, 5, 3)
    long_NTD, there_NT = regulated(state_NXD, torch.ones(2, 5, dtype=torch.int64))
    assert torch.equal(long_NTD, state_NXD) and there_NT.all()


def test_the_gradient_of_a_state_is_its_duration() -> None:
    state_NXD = torch.randn(1, 4, 2, requires_grad=True)
    duration_NX = torch.tensor([[2, 0, 3, 1]])
    regulated(state_NXD, duration_NX)[0].sum().backward()
    assert torch.equal(state_NXD.grad, duration_NX[:, :, None].expand(-1, -1, 2).float())
    assert not duration_NX.is_floating_point()


@given(DURATIONS)
def test_rounding_the_exact_logarithms_gives_the_durations_back(rows: list[list[int]]) -> None:
    duration_NX = torch.tensor(rows)
    duration_NX[:, 0] += 1
    found = frames_of((duration_NX + 1.0).log(), torch.ones_like(duration_NX, dtype=torch.bool))
    assert torch.equal(found, duration_NX)


def test_no_prediction_gives_a_sentence_without_frames_or_one_without_end() -> None:
    mask = torch.tensor([[True, True, False]])
    assert frames_of(torch.full((1, 3), -5.0), mask).tolist() == [[1, 0, 0]]
    assert frames_of(torch.full((1, 3), 1e30), mask).tolist() == [[100, 100, 0]]


@given(DURATIONS)
def test_means_over_phonemes_are_those_of_a_loop(rows: list[list[int]]) -> None:
    duration_NX = torch.tensor(rows)
    duration_NX[:, 1] += 1
    frames = int(duration_NX.sum(1).max())
    value, counts = torch.randn(len(rows), frames), torch.rand(len(rows), frames) < 0.6
    found = mean_per_phoneme(value, counts, duration_NX)
    place, there = owners(duration_NX)
    for n in range(len(rows)):
        for x in range(3):
            own = value[n][(place[n] == x) & there[n] & counts[n]]
            assert found[n, x].item() == pytest.approx(own.mean().item() if len(own) else 0.0, abs=1e-5)


@given(st.floats(0, 1))
def test_a_scaled_gradient_is_its_share_and_leaves_the_value(share: float) -> None:
    x = torch.tensor(np.arange(3.0), requires_grad=True)
    y = scaled_gradient(x, share)
    y.square().sum().backward()
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(x.grad, share * 2 * x.detach())

"""Bins of pitch and energy, and what an attention says of durations."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from embodkd.parts.speech.alignment import durations, focus_rate, in_frames, off_diagonal
from embodkd.parts.speech.bins import linear_bins, log_bins, mel_bins

LOW, HIGH = torch.tensor(80.0, dtype=torch.double), torch.tensor(300.0, dtype=torch.double)


@given(st.lists(st.floats(50, 400), min_size=1, max_size=8))
def test_bins_count_the_edges_strictly_below(values: list[float]) -> None:
    hz = torch.tensor(values, dtype=torch.double)
    edges = np.exp(np.linspace(np.log(80.0), np.log(300.0), 255))
    sure = [v for v in values if np.abs(edges - v).min() > 1e-6]
    found = log_bins(torch.tensor(sure, dtype=torch.double), LOW, HIGH).tolist()
    assert found == [int((edges < v).sum()) for v in sure]
    even = np.linspace(80.0, 300.0, 255)
    sure = [v for v in values if np.abs(even - v).min() > 1e-6]
    assert linear_bins(torch.tensor(sure, dtype=torch.double), LOW, HIGH).tolist() == [
        int((even < v).sum()) for v in sure
    ]
    assert log_bins(hz, LOW, HIGH).max() <= 255


def test_what_has_no_voice_is_in_the_lowest_bin() -> None:
    hz = torch.tensor([0.0, 80.0, 300.0, 301.0], dtype=torch.double)
    assert log_bins(hz, LOW, HIGH).tolist()[0] == 0 and log_bins(hz, LOW, HIGH).tolist()[3] == 255
    assert mel_bins(torch.tensor([0.0, 10.0, 50.0, 900.0, 2000.0])).tolist() == [1, 1, 1, 255, 255]


def test_no_gradient_goes_through_bins() -> None:
    hz = torch.tensor([100.0], requires_grad=True)
    assert not mel_bins(hz).requires_grad and not linear_bins(hz, LOW.float(), HIGH.float()).requires_grad


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_an_attention_that_is_sure_gives_the_true_durations(row: list[int]) -> None:
    owner_S = torch.arange(len(row)).repeat_interleave(torch.tensor(row))
    sure_NHSX = one_hot(owner_S, len(row)).float()[None, None]
    unsure = torch.full_like(sure_NHSX, 1 / len(row)) + 0.01 * torch.rand(sure_NHSX.shape)
    both = torch.cat([unsure.flip(-1), sure_NHSX], 1)
    found = durations(both, torch.tensor([len(owner_S)]))
    assert found.tolist() == [row]
    rate_NH = focus_rate(both, torch.ones(1, len(owner_S), dtype=torch.bool))
    assert rate_NH[0, 1] == 1.0 and (len(row) == 1 or rate_NH[0, 0] < 1.0)


def test_steps_behind_the_end_do_not_count() -> None:
    attention = one_hot(torch.tensor([[0, 1, 1, 2, 2]]), 3).float()[:, None]
    assert durations(attention, torch.tensor([3])).tolist() == [[1, 2, 0]]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any), st.integers(1, 4), st.data())
def test_steps_as_frames_fill_the_sentence_and_the_last_step_may_be_shorter(
    row: list[int], per: int, data: st.DataObject
) -> None:
    frames = sum(row) * per - data.draw(st.integers(0, per - 1))
    found = in_frames(torch.tensor([row]), per, torch.tensor([frames]))[0].tolist()
    assert sum(found) == frames and min(found) >= 0
    last = max(k for k, steps in enumerate(row) if steps)
    assert [f for k, f in enumerate(found) if k != last] == [per * steps for k, steps in enumerate(row) if k != last]


def test_an_even_pace_is_nowhere_off() -> None:
    away = off_diagonal(torch.tensor([4]), torch.tensor([4]), 4, 4)[0]
    assert torch.equal(away.diagonal(), torch.zeros(4)) and away[0, 3] > 0.9 and torch.equal(away, away.T)

"""Actions as tokens, and a trajectory's score."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodkd.parts.vla.actions import ActionBins
from embodkd.parts.vla.score import TrajectoryMarks, agreement, progress, slot_f1, vla_score

ACTIONS = np.random.default_rng(0).normal(size=(500, 7)) * [0.01, 0.01, 0.01, 0.1, 0.1, 0.1, 1.0]
MARK = st.floats(0, 1)


def test_within_the_quantiles_an_action_comes_back_to_half_a_bin() -> None:
    bins = ActionBins.of("table", ACTIONS)
    inside = np.clip(ACTIONS, bins.low, bins.high)
    back = bins.decode(bins.encode(ACTIONS), "table")
    assert (np.abs(back - inside) <= 0.5001 * (bins.high - bins.low) / 256).all()
    assert (bins.encode(back) == bins.encode(ACTIONS)).all()
    assert bins.encode(np.full((1, 7), -9.0)).max() == 0 and bins.encode(np.full((1, 7), 9.0)).min() == 255


def test_limits_of_other_data_and_tokens_that_are_no_bins_are_refused() -> None:
    bins = ActionBins.of("table", ACTIONS)
    with pytest.raises(ValueError, match="made of 'table', asked for 'bridge'"):
        bins.decode(np.zeros((1, 7), int), "bridge")
    with pytest.raises(ValueError, match="outside 0..255"):
        bins.decode(np.full((1, 7), 256), "table")
    with pytest.raises(ValueError, match="finite"):
        ActionBins.of("table", np.full((3, 7), np.nan))


def test_a_dimension_that_never_moves_comes_back_as_it_was() -> None:
    bins = ActionBins.of("still", np.full((50, 2), 0.25))
    assert np.allclose(bins.decode(bins.encode(np.full((1, 2), 0.25)), "still"), 0.25, atol=0.5 / 256)


def test_bins_go_to_a_file_and_back() -> None:
    bins = ActionBins.of("table", ACTIONS)
    again = ActionBins.from_dict(json.loads(json.dumps(bins.as_dict())))
    assert (again.encode(ACTIONS) == bins.encode(ACTIONS)).all() and again.key == "table"
    with pytest.raises(ValueError, match="below high"):
        ActionBins.from_dict({**bins.as_dict(), "high": bins.low.tolist()})


@given(MARK, MARK, MARK, MARK, MARK)
def test_a_score_rises_with_each_mark_and_is_nothing_without_success(
    r: float, a: float, i: float, ra: float, more: float
) -> None:
    base = {"reasoning": r, "action": a, "intention": i, "agreement": ra}
    assert TrajectoryMarks(**base, success=False).score == 0.0
    for name in base:
        better = TrajectoryMarks(**{**base, name: max(base[name], more)}, success=True)
        assert better.score >= TrajectoryMarks(**base, success=True).score - 1e-12
    assert TrajectoryMarks(**base, success=True).score <= ra + 1e-12


def test_perfect_is_a_hundred_and_the_mean_is_never_above_success_or_agreement() -> None:
    assert vla_score([TrajectoryMarks(1, 1, True, 1.0)]) == 100 and vla_score([TrajectoryMarks(1, 1, True)]) == 100
    rng = np.random.default_rng(0)
    judged = [TrajectoryMarks(*rng.random(2), bool(rng.random() > 0.5), *rng.random(2)) for _ in range(50)]
    most = min(np.mean([one.success for one in judged]), np.mean([one.agreement for one in judged]))
    assert vla_score(judged) <= 100 * most
    with pytest.raises(ValueError, match="no trajectory"):
        vla_score([])
    with pytest.raises(ValueError, match="0 to 1"):
        TrajectoryMarks(8.0, 1, True)


def test_facts_count_by_slot() -> None:
    true = {"object": "can", "side": "left", "grip": "open"}
    assert slot_f1(true, true) == 1 and slot_f1({}, true) == 0 and slot_f1({}, {}) == 1
    assert slot_f1({"object": "can", "side": "right"}, true) == pytest.approx(2 / 5)


def test_words_agree_with_deeds_by_direction_and_grip() -> None:
    said = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]], float)
    done = np.array([[2, 0.1, 0], [-1, 0, 0], [9, 9, 9], [0, 3, 0]], float)
    grip = np.array([0, 0, 0, 1])
    assert agreement(said, done, np.zeros(4), grip) == pytest.approx(1 / 3)
    assert agreement(0 * said, done, grip, grip) == 1.0
    assert progress(np.array([3.0, 2.0, 2.0, 2.5])) == pytest.approx(2 / 3) and progress(np.ones(1)) == 1.0

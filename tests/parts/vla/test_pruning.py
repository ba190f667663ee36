"""Which frames keep their text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodkd.parts.vla.pruning import action_label, dilated, dropped_out, kept, kept_shares, second_difference

OPEN = np.zeros(20, bool)


def _way(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(20, 6)).cumsum(axis=0) * 0.01


def test_an_even_motion_without_grip_is_not_worth_a_word() -> None:
    even = np.linspace(0, 1, 20)[:, None] * np.array([0.3, -0.1, 0.2, 0.5, 0, 0])
    assert not action_label(even, OPEN).any()
    assert not action_label(np.zeros((20, 6)), OPEN).any()


@given(st.floats(1e-3, 1e3), st.integers(0, 5))
def test_neither_scale_nor_offset_changes_which(scale: float, seed: int) -> None:
    way = _way(seed)
    plain = action_label(way, OPEN)
    assert plain.any() and (action_label(scale * way, OPEN) == plain).all()
    assert (action_label(way + np.arange(6.0), OPEN) == plain).all()


def test_a_single_push_is_kept() -> None:
    way = np.zeros((20, 6))
    way[10:, 0] = 0.05
    assert np.flatnonzero(action_label(way, OPEN)).tolist() == [9, 10]


def test_a_grip_is_kept_where_it_changes() -> None:
    grip = OPEN.copy()
    grip[7:15] = True
    assert np.flatnonzero(action_label(np.zeros((20, 6)), grip)).tolist() == [7, 15]


def test_turns_count_a_tenth_and_ends_nothing() -> None:
    way = np.zeros((5, 6))
    way[2, 3] = 1.0
    assert second_difference(way).tolist() == pytest.approx([0, 0.1, 0.2, 0.1, 0])
    assert second_difference(way, weigh_turns=False).tolist() == pytest.approx([0, 1, 2, 1, 0])
    assert not second_difference(way[:2]).any() and not second_difference(way[:1]).any()


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 3))
def test_both_are_what_each_keeps_and_random_as_many(labels: list[bool], seed: int) -> None:
    scene = np.array(labels)
    action = np.random.default_rng(seed).random(len(scene)) > 0.5
    assert (kept(scene, action, "both") == (kept(scene, action, "scene") & kept(scene, action, "action"))).all()
    assert kept(scene, action, "random", seed).sum() == (scene & action).sum()
    assert kept(scene, action, "all").all() and not kept(scene, action, "none").any()


def test_wrong_ways_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="random, both"):
        kept(OPEN, OPEN, "most")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one per frame"):
        kept(OPEN, OPEN[:3])


def test_a_label_widens_by_frames_on_both_sides_and_not_around_the_end() -> None:
    label = np.array([1, 0, 0, 0, 1, 0, 0], bool)
    assert dilated(label).astype(int).tolist() == [1, 1, 0, 1, 1, 1, 0]
    assert dilated(label, 0).tolist() == label.tolist() and dilated(label[:1], 5).tolist() == [True]


def test_dropout_takes_its_share_of_the_kept_alone() -> None:
    many = np.arange(10000) % 2 == 0
    left = dropped_out(many, 0.3, 0)
    assert not (left & ~many).any() and left.sum() / many.sum() == pytest.approx(0.7, abs=0.02)
    assert (dropped_out(many, 0.0, 0) == many).all() and not dropped_out(many, 1.0, 0).any()


def test_shares_are_told_by_phase() -> None:
    shares = kept_shares(np.array([1, 0, 1, 1], bool), np.array(["reach", "reach", "lift", "lift"]))
    assert shares == {"all": 0.75, "lift": 1.0, "reach": 0.5}

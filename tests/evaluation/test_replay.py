"""The floor of a task: a recording replayed blindly is its actions in their order, and the best one is found."""

from __future__ import annotations

import numpy as np
import pytest
from coin import Coin
from embodkd.envs.seeds import judged, rehearsed
from hypothesis import given
from hypothesis import strategies as st

from embodkd.data.lerobot import About, Demonstrations
from embodkd.evaluation.replay import BlindReplay, best_replay, judge_replay


def recordings(lengths: list[int], seed: int = 0, size: int = 2) -> Demonstrations:
    """Random actions; the episodes are called 100, 101, ..."""
    count = len(lengths)
    action_FA = np.random.default_rng(seed).uniform(-1, 1, (sum(lengths), size)).astype(np.float32)
    about = About({}, size, 10.0, {})
    return Demonstrations(about, {}, action_FA, np.array(lengths), 7 + np.arange(count), 100 + np.arange(count))


def replayed(actions_TA: np.ndarray, seed: int) -> bool:
    """One episode of one copy, step by step: whether it succeeds."""
    task = Coin(1)
    task.reset(np.array([seed]))
    for t in range(task.spec.max_steps):
        step = task.step(actions_TA[None, min(t, len(actions_TA) - 1)])
        if step.truncated[0]:
            return bool(step.info["is_success"][0])
    raise AssertionError("the episode has an end")


def counted(data: Demonstrations, tries: int) -> list[int]:
    """Successes of each recording, one episode after the other."""
    parts = np.split(data.action_FA, data.starts_E[1:])
    return [sum(replayed(part, seed) for seed in rehearsed(tries)) for part in parts]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 5),
    st.sampled_from([1, 3, 8]),
    st.integers(0, 9),
)
def test_the_best_is_the_first_of_those_that_succeed_most_often_however_many_copies_there_are(
    lengths: list[int], tries: int, copies: int, seed: int
) -> None:
    data = recordings(lengths, seed)
    best, slow = best_replay(Coin(copies), data, tries=tries), counted(data, tries)
    assert best.successes_R.tolist() == slow
    first = slow.index(max(slow))
    np.testing.assert_array_equal(best.actions_TA, np.split(data.action_FA, data.starts_E[1:])[first])
    assert (best.episode, best.seed) == (100 + first, 7 + first)


def test_a_session_plays_from_the_start_in_each_copy_and_holds_the_last_action() -> None:
    actions_TA = np.arange(6, dtype=np.float32).reshape(3, 2)
    session = BlindReplay(actions_TA[None]).session(2)
    session.begin()
    seen = [session.act({}) for _ in range(2)]
    session.begin(np.array([1]))
    seen += [session.act({}, np.array([1])), session.act({}), session.act({}), session.act({})]
    rows = [[0, 0], [1, 1], [0], [2, 1], [2, 2], [2, 2]]
    for found, expected in zip(seen, rows, strict=True):
        np.testing.assert_array_equal(found, actions_TA[expected])


def test_the_winner_is_judged_as_a_policy_is_and_the_manifest_says_which_it_was() -> None:
    data = recordings([3, 6, 2, 4])
    slow = counted(data, 5)
    first = slow.index(max(slow))
    result = judge_replay(Coin(3), data, episodes=20, seed=2, tries=5)
    actions_TA = np.split(data.action_FA, data.starts_E[1:])[first]
    assert [outcome.success for outcome in result.outcomes] == [replayed(actions_TA, s) for s in judged(2, 20)]
    facts = {"episode": 100 + first, "recorded_on_seed": 7 + first, "successes": max(slow), "of": 5, "recordings": 4}
    assert result.manifest["replay"] == facts and result.manifest["reads"] == {}


def test_at_most_fifty_are_tried() -> None:
    lengths = [3] * 60
    data = recordings(lengths)
    best = best_replay(Coin(16), data, tries=1)
    assert len(best.successes_R) == 50 and best.successes_R.tolist() == counted(data, 1)[:50]


def test_recordings_of_another_robot_are_refused() -> None:
    with pytest.raises(ValueError, match="recordings of 3 actions, task 'coin' needs 2"):
        best_replay(Coin(2), recordings([3], size=3))

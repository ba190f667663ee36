"""A group of runs over training seeds: what its mean, its interval and its words promise."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from crossed_runs import Scene, coverage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embodkd.evaluation import Episode, Evaluation, OverSeeds, grouped, wilson

OUTCOMES = hnp.arrays(bool, st.tuples(st.integers(1, 7), st.integers(2, 12)))


def evaluation(success_E: list[bool], seed: int = 0, first: int = 0, **manifest: object) -> Evaluation:
    outcomes = tuple(
        Episode(first + index, success, None if success else "missed", 0.0, 1)
        for index, success in enumerate(success_E)
    )
    protocol = {"task": "coin", "engine": "none", "options": {"tell": True}, "episodes": len(outcomes), "seed": seed}
    return Evaluation(outcomes, protocol, dict(manifest))


@given(OUTCOMES)
def test_the_interval_lies_inside_zero_and_one_around_the_mean_of_the_rates(success_SE: np.ndarray) -> None:
    told = OverSeeds.of(success_SE)
    assert told.rates == pytest.approx([fmean(row) for row in success_SE.tolist()])
    assert told.mean == pytest.approx(fmean(told.rates))
    assert 0.0 <= told.low <= told.mean <= told.high <= 1.0
    assert told.low < told.high


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_episodes_does_not_matter(success_SE: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    seeds, episodes = (random.sample(range(size), size) for size in success_SE.shape)
    one, other = OverSeeds.of(success_SE), OverSeeds.of(success_SE[seeds][:, episodes])
    assert sorted(one.rates) == pytest.approx(sorted(other.rates))
    assert (other.mean, other.low, other.high) == pytest.approx((one.mean, one.low, one.high))


@given(OUTCOMES)
def test_failures_have_the_interval_of_successes_turned_round(success_SE: np.ndarray) -> None:
    one, other = OverSeeds.of(success_SE), OverSeeds.of(~success_SE)
    assert (other.low, other.high) == pytest.approx((1 - one.high, 1 - one.low))


@given(hnp.arrays(bool, st.integers(2, 60)))
def test_a_single_run_keeps_its_own_wilson_interval(success_E: np.ndarray) -> None:
    told = OverSeeds.of(success_E[None, :])
    assert (told.low, told.high) == pytest.approx(wilson(int(success_E.sum()), len(success_E)), abs=1e-9)


@given(hnp.arrays(bool, st.integers(2, 60)))
def test_two_runs_that_did_the_same_are_worth_one(success_E: np.ndarray) -> None:
    told = OverSeeds.of(np.stack([success_E, success_E]))
    assert (told.low, told.high) == pytest.approx(wilson(int(success_E.sum()), len(success_E)), abs=1e-9)


def test_two_runs_are_worth_no_more_than_twice_the_episodes() -> None:
    alternating_E = np.arange(100) % 2 == 0
    told = OverSeeds.of(np.stack([alternating_E, ~alternating_E]))
    assert (told.low, told.high) == pytest.approx(wilson(100, 200), abs=1e-9)


@pytest.mark.parametrize("seeds", [1, 2, 5, 20])
@pytest.mark.parametrize("success", [True, False])
def test_where_all_outcomes_are_alike_more_seeds_promise_no_more_than_one(seeds: int, success: bool) -> None:
    told = OverSeeds.of(np.full((seeds, 100), success))
    assert (told.low, told.high) == pytest.approx(wilson(100 * success, 100), abs=1e-9)


def test_from_three_seeds_on_it_is_student_s_on_the_logit_with_the_crossed_variance() -> None:
    from scipy.stats import t

    success_SE = np.array([[1, 1, 0, 1, 1, 0], [1, 0, 0, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]], bool)
    # By hand: rates 4/6, 4/6, 4/6, 1/6; of episodes 3/4, 2/4, 1/4, 1, 2/4, 1/4.
    mean, of_seeds = 13 / 24, 6 * (3 / 64 + 9 / 64) / 3
    of_episodes = 4 * sum((k / 4 - mean) ** 2 for k in (3, 2, 1, 4, 2, 1)) / 5
    rest = (24 * mean * (1 - mean) - 3 * of_seeds - 5 * of_episodes) / 15
    assert min(of_seeds, of_episodes) > rest > 0
    variance = (of_seeds + of_episodes - rest) / 24
    degrees = (24 * variance) ** 2 / (of_seeds**2 / 3 + of_episodes**2 / 5 + rest**2 / 15)
    half = t.ppf(0.975, degrees) * np.sqrt(variance) / (mean * (1 - mean))
    logits = np.log(mean / (1 - mean)) + np.array([-half, half])
    told = OverSeeds.of(success_SE)
    assert (told.low, told.high) == pytest.approx(tuple(1 / (1 + np.exp(-logits))))


def test_the_interval_widens_with_the_spread_of_the_seeds_at_the_same_mean() -> None:
    def told(*successes: int) -> OverSeeds:
        return OverSeeds.of(np.array([np.random.default_rng(i).permutation(100) < k for i, k in enumerate(successes)]))

    widths = [
        one.high - one.low for one in (told(80, 80, 80, 80, 80), told(74, 77, 80, 83, 86), told(60, 70, 80, 90, 100))
    ]
    assert widths == sorted(widths) and widths[2] > 2 * widths[0]


def test_seeds_that_share_their_luck_with_episodes_tell_less_than_those_with_luck_of_their_own() -> None:
    rng = np.random.default_rng(0)
    success_E = rng.random(100) < 0.8
    shared = OverSeeds.of(np.tile(success_E, (5, 1)))
    own = OverSeeds.of(np.stack([rng.permutation(success_E) for _ in range(5)]))
    assert shared.mean == pytest.approx(own.mean)
    assert shared.high - shared.low > 1.5 * (own.high - own.low)


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.85, 0.95])
@pytest.mark.parametrize("seeds, seed_sd, episode_sd", [(5, 0.0, 1.0), (5, 0.5, 2.0), (5, 1.0, 0.0), (8, 1.0, 1.0)])
@pytest.mark.parametrize("nested", [False, True])
def test_the_interval_covers_the_rate_of_new_seeds_and_episodes(
    rate: float, seeds: int, seed_sd: float, episode_sd: float, nested: bool
) -> None:
    scene = Scene(rate, seed_sd, episode_sd, seeds, 100, nested)
    # Four standard errors of 1,000 draws at 95 %: 2.8 points.
    assert 0.92 - 0.014 <= coverage(scene, 1000, np.random.default_rng(0)) <= 0.97 + 0.014


def test_the_middle_seeds_alone_make_the_interquartile_mean() -> None:
    def told(*successes: int) -> float | None:
        return OverSeeds.of(np.arange(10) < np.array(successes)[:, None]).interquartile_mean

    assert told(0, 2, 9, 4) is None
    assert told(0, 6, 10, 8, 7) == pytest.approx(0.7)
    assert told(0, 1, 4, 5, 6, 7, 10, 10) == pytest.approx(0.55)


def test_below_three_seeds_it_says_that_it_speaks_of_these_runs_only() -> None:
    success_SE = np.arange(100) < np.array([[80], [70], [90]])
    for count in (1, 2):
        told = OverSeeds.of(success_SE[:count])
        assert told.of_these_runs and "these runs only" in str(told)
    told = OverSeeds.of(success_SE)
    assert not told.of_these_runs and "only" not in str(told)
    assert str(told).startswith("80.0 % over 3 seeds of 100 episodes (95 %: ")


def test_evaluations_of_one_protocol_are_one_group_with_all_that_must_be_said_of_them() -> None:
    one = evaluation([True, False, True, True], beware=["seen"])
    other = evaluation([False, False, True, True], beware=["seen", "short"])
    told = grouped([one, other])
    expected = OverSeeds.of(np.array([[1, 0, 1, 1], [0, 0, 1, 1]], bool))
    assert told == replace(expected, beware=("seen", "short"))
    assert str(told).endswith("beware: seen; short")


def test_evaluations_that_differ_are_no_group_and_what_differs_is_named() -> None:
    one = evaluation([True, False, True])
    with pytest.raises(ValueError, match="1 and 3 of the group.*seed: 0 and 1"):
        grouped([one, one, evaluation([True, False, True], seed=1)])
    with pytest.raises(ValueError, match=r"options\.tell: True and False"):
        grouped([one, replace(one, protocol=one.protocol | {"options": {"tell": False}})])
    with pytest.raises(ValueError, match="episodes: 3 and 2"):
        grouped([one, evaluation([True, False])])
    with pytest.raises(ValueError, match="1 and 2 of the group.*other seeds"):
        grouped([one, evaluation([True, False, True], first=7)])
    with pytest.raises(ValueError, match="at least one evaluation"):
        grouped([])


@pytest.mark.parametrize("wrong", [np.ones((3, 4)), np.ones(4, bool), np.ones((0, 4), bool), np.ones((3, 1), bool)])
def test_what_is_no_table_of_outcomes_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="booleans of seeds x episodes"):
        OverSeeds.of(wrong)

"""The variance of a mean over crossed seeds and episodes, against loops and the identities of the two-way layout."""

from __future__ import annotations

import itertools
from statistics import fmean, variance

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embodkd.evaluation.crossed import crossed_spread, mean_squares, spread_over_episodes

OUTCOMES = hnp.arrays(bool, st.tuples(st.integers(2, 6), st.integers(2, 9)))


def slow_mean_squares(rows: list[list[float]]) -> tuple[float, float, float]:
    """Of seeds, episodes and rest, by loops over the textbook's sums."""
    seeds, episodes = len(rows), len(rows[0])
    mean = fmean(x for row in rows for x in row)
    of_seed = [fmean(row) for row in rows]
    of_episode = [fmean(row[e] for row in rows) for e in range(episodes)]
    rest = sum(
        (rows[s][e] - of_seed[s] - of_episode[e] + mean) ** 2
        for s, e in itertools.product(range(seeds), range(episodes))
    )
    return (
        episodes * sum((x - mean) ** 2 for x in of_seed) / (seeds - 1),
        seeds * sum((x - mean) ** 2 for x in of_episode) / (episodes - 1),
        rest / ((seeds - 1) * (episodes - 1)),
    )


@given(OUTCOMES)
def test_mean_squares_equal_loops_over_their_sums(success_SE: np.ndarray) -> None:
    found = mean_squares(success_SE)
    slow = slow_mean_squares(success_SE.astype(float).tolist())
    assert (found.seeds, found.episodes, found.rest) == pytest.approx(slow, abs=1e-12)


@given(OUTCOMES)
def test_sums_of_squares_add_up_to_the_total(success_SE: np.ndarray) -> None:
    found, (seeds, episodes) = mean_squares(success_SE), success_SE.shape
    parts = (seeds - 1) * found.seeds + (episodes - 1) * found.episodes
    parts += (seeds - 1) * (episodes - 1) * found.rest
    assert parts == pytest.approx(success_SE.size * success_SE.var(), abs=1e-12)


@given(OUTCOMES)
def test_the_variance_of_one_group_is_the_sum_of_its_components(success_SE: np.ndarray) -> None:
    of_seeds, of_episodes, rest = slow_mean_squares(success_SE.astype(float).tolist())
    seeds, episodes = success_SE.shape
    seed_component, episode_component = (of_seeds - rest) / episodes, (of_episodes - rest) / seeds
    unbiased = seed_component / seeds + episode_component / episodes + rest / success_SE.size
    least = 0.4 * max(of_episodes, rest) / success_SE.size
    found = crossed_spread(success_SE)
    assert found.variance == pytest.approx(max(unbiased, least), abs=1e-12)
    assert found.seeds == pytest.approx(max(0.0, seed_component) / seeds, abs=1e-12)
    assert found.episodes == pytest.approx(max(0.0, episode_component) / episodes + rest / success_SE.size, abs=1e-12)


@given(OUTCOMES)
def test_degrees_of_freedom_are_satterthwaite_s_between_those_of_seeds_and_of_all(success_SE: np.ndarray) -> None:
    seeds, episodes = success_SE.shape
    found = crossed_spread(success_SE)
    if found.variance < 1e-12:
        return
    freedoms = (seeds - 1, episodes - 1, (seeds - 1) * (episodes - 1))
    squares = slow_mean_squares(success_SE.astype(float).tolist())
    doubt = sum((square / success_SE.size) ** 2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    assert found.degrees == pytest.approx(max(found.variance**2 / doubt, seeds - 1))
    assert found.degrees <= sum(freedoms) + 1e-9


@given(hnp.arrays(bool, st.integers(2, 9)), st.integers(2, 6))
def test_seeds_that_did_all_the_same_have_no_variance_among_them(success_E: np.ndarray, seeds: int) -> None:
    found = crossed_spread(np.tile(success_E, (seeds, 1)))
    assert found.seeds == pytest.approx(0.0, abs=1e-12)
    assert found.variance == pytest.approx(variance(success_E.astype(float).tolist()) / len(success_E), abs=1e-12)


@given(hnp.arrays(bool, st.integers(2, 6)), st.integers(2, 9))
def test_episodes_that_went_all_the_same_leave_the_variance_among_seeds(success_S: np.ndarray, episodes: int) -> None:
    found = crossed_spread(np.tile(success_S[:, None], (1, episodes)))
    assert found.episodes == pytest.approx(0.0, abs=1e-12)
    assert found.variance == pytest.approx(variance(success_S.astype(float).tolist()) / len(success_S), abs=1e-12)
    if found.variance > 1e-12:
        assert found.degrees == pytest.approx(len(success_S) - 1)


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_episodes_does_not_matter(success_SE: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    seeds, episodes = (random.sample(range(size), size) for size in success_SE.shape)
    one, other = crossed_spread(success_SE), crossed_spread(success_SE[seeds][:, episodes])
    assert (other.seeds, other.episodes) == pytest.approx((one.seeds, one.episodes), abs=1e-12)


def test_what_episodes_do_to_both_groups_alike_falls_out_of_their_difference() -> None:
    rng = np.random.default_rng(0)
    hard_E = rng.random(50) < 0.5
    a_SE, b_SE = (np.tile(hard_E, (count, 1)).astype(float) for count in (4, 6))
    assert crossed_spread(a_SE, -b_SE).variance == 0.0
    assert crossed_spread(a_SE, -b_SE[:, rng.permutation(50)]).variance > 0.0


def test_two_groups_of_other_seeds_add_up_the_components_of_their_seeds() -> None:
    rng = np.random.default_rng(1)
    a_SE, b_SE = ((rng.random((count, 40)) < rng.random((count, 1))).astype(float) for count in (4, 7))
    together = crossed_spread(a_SE, -b_SE)
    parts = [crossed_spread(one) for one in (a_SE, b_SE)]
    assert together.seeds == pytest.approx(sum(part.seeds for part in parts))
    assert together.variance == pytest.approx(together.seeds + together.episodes)
    by_episode = [fmean(a_SE[:, e]) - fmean(b_SE[:, e]) for e in range(40)]
    assert together.episodes == pytest.approx(variance(by_episode) / 40)
    assert spread_over_episodes(a_SE, -b_SE).variance == pytest.approx(variance(by_episode) / 40)


def test_the_estimated_variance_is_that_of_means_drawn_anew_from_a_crossed_population() -> None:
    rng = np.random.default_rng(2)

    def draw() -> np.ndarray:
        return 0.3 * rng.standard_normal((4, 1)) + 0.5 * rng.standard_normal(30) + rng.standard_normal((4, 30))

    truth = 0.3**2 / 4 + 0.5**2 / 30 + 1 / 120
    draws = [draw() for _ in range(4000)]
    assert np.var([one.mean() for one in draws]) == pytest.approx(truth, rel=0.1)
    assert np.mean([crossed_spread(one).variance for one in draws]) == pytest.approx(truth, rel=0.1)

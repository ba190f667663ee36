"""Two groups of runs over training seeds: what their difference, its interval and its verdict promise."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from crossed_runs import Scene, coverage_of_difference
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embodkd.evaluation import compare_over_seeds, mcnemar, paired_interval


@st.composite
def groups(draw: st.DrawFn, least: int = 1, same: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of two groups on the same episodes."""
    episodes, a = draw(st.integers(2, 10)), draw(st.integers(least, 6))
    b = a if same else draw(st.integers(least, 6))
    return draw(hnp.arrays(bool, (a, episodes))), draw(hnp.arrays(bool, (b, episodes)))


def runs(*rates: float, episodes: int = 200, seed: int = 0) -> np.ndarray:
    """One run per rate, with exactly that rate, on shuffled episodes."""
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(episodes) < rate * episodes for rate in rates])


@given(groups(same=True), st.booleans())
def test_the_interval_holds_the_difference_and_turns_round_with_the_groups(
    both: tuple[np.ndarray, np.ndarray], paired: bool
) -> None:
    a_SE, b_SE = both
    told, turned = compare_over_seeds(a_SE, b_SE, paired=paired), compare_over_seeds(b_SE, a_SE, paired=paired)
    assert told.difference == pytest.approx(fmean(a_SE.ravel().tolist()) - fmean(b_SE.ravel().tolist()))
    assert -1.0 <= told.low <= told.difference + 1e-12 and told.difference - 1e-12 <= told.high <= 1.0
    assert told.low < told.high and 0.0 <= told.p_value <= 1.0
    assert (turned.low, turned.high) == pytest.approx((-told.high, -told.low))
    assert turned.p_value == pytest.approx(told.p_value)
    words = {"better": "worse", "worse": "better"}
    assert turned.verdict == words.get(told.verdict, told.verdict)


@given(groups(), st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_episodes_does_not_matter(both, random) -> None:  # type: ignore[no-untyped-def]
    a_SE, b_SE = both
    episodes, of_a, of_b = (random.sample(range(size), size) for size in (a_SE.shape[1], len(a_SE), len(b_SE)))
    one, other = compare_over_seeds(a_SE, b_SE), compare_over_seeds(a_SE[of_a][:, episodes], b_SE[of_b][:, episodes])
    assert (other.low, other.high, other.p_value) == pytest.approx((one.low, one.high, one.p_value))


@given(groups(least=3, same=True))
def test_paired_seeds_have_student_s_interval_with_the_components_of_the_differences(
    both: tuple[np.ndarray, np.ndarray],
) -> None:
    from scipy.stats import t

    a_SE, b_SE = both
    rows = (a_SE.astype(int) - b_SE.astype(int)).tolist()
    seeds, episodes, mean = len(rows), len(rows[0]), fmean(x for row in rows for x in row)
    of_seed = [fmean(row) for row in rows]
    of_episode = [fmean(row[e] for row in rows) for e in range(episodes)]
    residuals = [rows[s][e] - of_seed[s] - of_episode[e] + mean for s in range(seeds) for e in range(episodes)]
    freedoms = (seeds - 1, episodes - 1, (seeds - 1) * (episodes - 1))
    squares = [
        episodes * sum((x - mean) ** 2 for x in of_seed) / freedoms[0],
        seeds * sum((x - mean) ** 2 for x in of_episode) / freedoms[1],
        sum(x * x for x in residuals) / freedoms[2],
    ]
    total = max(squares[0] + squares[1] - squares[2], 0.4 * max(squares[1:]))
    if total < 1e-12:
        return
    doubt = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    degrees = max(total**2 / doubt, seeds - 1)
    law = t(degrees, scale=(total / (seeds * episodes)) ** 0.5)
    told = compare_over_seeds(a_SE, b_SE, paired=True)
    assert told.p_value == pytest.approx(2 * law.sf(abs(mean)), abs=1e-9)
    limits = (max(-1.0, mean - law.ppf(0.975)), min(1.0, mean + law.ppf(0.975)))
    assert (told.low, told.high) == pytest.approx(limits, abs=1e-9)


@given(groups(least=3))
def test_the_p_value_is_below_five_percent_exactly_where_the_interval_excludes_zero(
    both: tuple[np.ndarray, np.ndarray],
) -> None:
    told = compare_over_seeds(*both)
    if (both[0] != both[0][0, 0]).any() or (both[1] != both[1][0, 0]).any():
        assert (told.p_value < 0.05) == (told.low > 0 or told.high < 0) or abs(told.p_value - 0.05) < 1e-9


@given(hnp.arrays(bool, st.tuples(st.just(2), st.integers(2, 60))))
def test_one_run_against_one_is_the_comparison_of_two_evaluations(success_GE: np.ndarray) -> None:
    a_E, b_E = success_GE
    told = compare_over_seeds(a_E[None], b_E[None])
    table = [int(cell.sum()) for cell in (a_E & b_E, a_E & ~b_E, b_E & ~a_E, ~a_E & ~b_E)]
    assert (told.difference, told.low, told.high) == pytest.approx(paired_interval(*table))
    assert told.p_value == mcnemar(table[1], table[2])
    assert told.of_these_runs and "these runs only" in str(told)


def test_groups_without_a_single_failure_are_not_called_the_same_on_few_episodes() -> None:
    told = compare_over_seeds(np.ones((5, 50), bool), np.ones((6, 50), bool))
    assert (told.low, told.high) == pytest.approx(paired_interval(50, 0, 0, 0)[1:])
    assert told.verdict == "not enough episodes to tell"
    assert compare_over_seeds(np.ones((5, 50), bool), np.zeros((5, 50), bool)).verdict == "better"


def test_seeds_that_always_or_never_succeed_are_counted_as_one_run_each() -> None:
    always, never = np.ones((1, 7), bool), np.zeros((1, 7), bool)
    told = compare_over_seeds(np.concatenate([always, never]), always)
    assert told.difference == -0.5 and told.low < -0.5 < told.high


def test_what_stands_in_the_way_of_a_verdict_is_named() -> None:
    near, apart = (0.80, 0.80, 0.81, 0.80, 0.79), (0.40, 0.95, 0.90, 0.30, 0.85)
    assert compare_over_seeds(runs(*near), runs(*near, seed=1)).verdict == "not enough episodes to tell"
    assert compare_over_seeds(runs(*apart), runs(*apart, seed=1)).verdict == "not enough seeds to tell"
    assert compare_over_seeds(runs(*apart[:2]), runs(*apart, seed=1)).verdict != "not enough seeds to tell"


def test_verdicts_are_those_of_a_comparison() -> None:
    high, low = (0.90, 0.92, 0.88, 0.91, 0.90), (0.60, 0.62, 0.59, 0.61, 0.57)
    assert compare_over_seeds(runs(*high), runs(*low, seed=1)).verdict == "better"
    assert compare_over_seeds(runs(*low), runs(*high, seed=1)).verdict == "worse"
    assert compare_over_seeds(runs(*high), runs(*high), margin=0.05, paired=True).verdict == "same within margin"
    assert compare_over_seeds(runs(*high), runs(*high, seed=1), margin=0.2).verdict == "same within margin"


def test_pairing_seeds_narrows_the_interval_where_they_share_their_luck() -> None:
    a_SE = runs(0.5, 0.6, 0.7, 0.8, 0.9)
    b_SE = a_SE & (np.arange(200) % 20 > 0)
    paired, apart = compare_over_seeds(a_SE, b_SE, paired=True), compare_over_seeds(a_SE, b_SE)
    assert paired.high - paired.low < 0.5 * (apart.high - apart.low)
    assert paired.verdict == "better" and "5 paired seeds" in str(paired) and "5 and 5 seeds" in str(apart)


def test_the_probability_of_improvement_counts_pairs_of_runs_and_ties_half() -> None:
    a, b = (0.5, 0.6, 0.7, 0.8, 0.9), (0.5, 0.5, 0.65, 0.75, 0.95)
    slow = fmean(1.0 if x > y else 0.5 if x == y else 0.0 for x in a for y in b)
    assert compare_over_seeds(runs(*a), runs(*b)).improvement == pytest.approx(slow)
    assert compare_over_seeds(runs(*a), runs(*b[:4])).improvement is None


@pytest.mark.parametrize("seeds, seed_sd, episode_sd", [((5, 5), 0.0, 1.0), ((5, 5), 1.0, 2.0), ((5, 8), 0.5, 1.0)])
@pytest.mark.parametrize("rates", [(0.6, 0.6), (0.85, 0.6), (0.95, 0.85)])
@pytest.mark.parametrize("alike", [0.0, 0.8])
@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_covers_the_difference_over_new_seeds_and_episodes(
    seeds: tuple[int, int], seed_sd: float, episode_sd: float, rates: tuple[float, float], alike: float, paired: bool
) -> None:
    if paired and seeds[0] != seeds[1]:
        return
    a, b = (Scene(rate, seed_sd, episode_sd, count, 100) for rate, count in zip(rates, seeds, strict=True))
    covered = coverage_of_difference(a, b, alike, paired, 500, np.random.default_rng(0))
    # Two standard errors of 500 draws at 95 % beyond what is promised.
    assert 0.92 - 0.02 <= covered <= 0.97 + 0.02


@pytest.mark.parametrize(
    "a, b, settings, message",
    [
        ((3, 10), (3, 11), {}, "same episodes: a_SE has 10, b_SE 11"),
        ((3, 10), (4, 10), {"paired": True}, "a_SE has 3, b_SE 4"),
        ((3, 10), (0, 10), {}, "b_SE must be booleans"),
        ((3, 10), (3, 10), {"margin": 0.0}, "margin must be positive"),
    ],
)
def test_groups_that_do_not_match_are_refused(a, b, settings, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        compare_over_seeds(np.ones(a, bool), np.ones(b, bool), **settings)

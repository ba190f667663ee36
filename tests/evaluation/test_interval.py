"""Intervals hold what they promise."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from embodkd.evaluation.interval import mcnemar, paired_interval, t_interval, wilson


@pytest.mark.parametrize("successes, episodes", [(0, 10), (1, 10), (5, 10), (97, 100), (200, 200)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_scipys(successes: int, episodes: int, confidence: float) -> None:
    limits = binomtest(successes, episodes).proportion_ci(confidence, method="wilson")
    assert wilson(successes, episodes, confidence) == pytest.approx((limits.low, limits.high), abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_scipys_exact_test_of_a_coin(only_a: int, only_b: int) -> None:
    exact = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(exact, rel=1e-12)


@given(st.integers(1, 500), st.data())
def test_wilson_limits_are_the_rates_that_the_score_test_just_accepts(episodes: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, episodes))
    low, high = wilson(successes, episodes)
    rate = successes / episodes
    assert 0.0 <= low <= rate <= high <= 1.0
    for limit in (low, high):
        if 0.0 < limit < 1.0:
            score = abs(rate - limit) / math.sqrt(limit * (1 - limit) / episodes)
            assert score == pytest.approx(1.959964, abs=1e-4)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.93])
def test_wilson_covers_a_known_coin_at_its_nominal_rate(rate: float) -> None:
    counts = np.random.default_rng(0).binomial(100, rate, size=4000)
    limits = [wilson(count, 100) for count in range(101)]
    covered = np.mean([low <= rate <= high for low, high in (limits[count] for count in counts)])
    assert 0.93 <= covered <= 0.975


@pytest.mark.parametrize("successes, episodes", [(1, 0), (11, 10), (-1, 10)])
def test_impossible_counts_are_refused(successes: int, episodes: int) -> None:
    with pytest.raises(ValueError, match="episode"):
        wilson(successes, episodes)


@pytest.mark.parametrize("table", [(0.5, 0.2, 0.1, 0.2), (0.9, 0.05, 0.03, 0.02), (0.1, 0.4, 0.1, 0.4)])
def test_paired_interval_covers_a_known_difference(table: tuple[float, ...]) -> None:
    truth = table[1] - table[2]
    draws = np.random.default_rng(1).multinomial(120, table, size=1000)
    limits = [paired_interval(*map(int, draw))[1:] for draw in draws]
    covered = np.mean([low <= truth <= high for low, high in limits])
    assert 0.93 <= covered <= 0.99


def test_paired_interval_is_narrower_than_an_unpaired_one_when_outcomes_go_together() -> None:
    _, low, high = paired_interval(70, 10, 0, 20)
    _, low_independent, high_independent = paired_interval(56, 24, 14, 6)
    assert high - low < high_independent - low_independent


def test_paired_interval_turns_round_with_its_arguments_and_keeps_a_width_at_the_ends() -> None:
    difference, low, high = paired_interval(30, 9, 4, 7)
    assert paired_interval(30, 4, 9, 7) == pytest.approx((-difference, -high, -low))
    assert paired_interval(200, 0, 0, 0)[1] < -0.01 < 0.01 < paired_interval(200, 0, 0, 0)[2]


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_counts_the_coins_that_fall_at_least_as_unevenly(only_a: int, only_b: int) -> None:
    count, fewer = only_a + only_b, min(only_a, only_b)
    tail = Fraction(sum(math.comb(count, k) for k in range(fewer + 1)), 2**count)
    assert mcnemar(only_a, only_b) == pytest.approx(float(min(Fraction(1), 2 * tail)), abs=1e-9)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_that_is_none_is_refused(confidence: float) -> None:
    for interval in (lambda: wilson(1, 2, confidence), lambda: t_interval([1.0, 2.0], confidence)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            interval()

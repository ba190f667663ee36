"""The query game against a linear program, its limits, and draws that keep their probabilities."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from embodkd.parts.active.queries import draw, gains, game, inclusion

GAINS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=9).map(np.array)


def worst_case(q, gain, m, rho):
    """What q is worth when the adversary picks the m candidates that hurt most, by trying all."""
    paid = q * gain
    picks = itertools.combinations(range(len(q)), min(m, len(q)))
    return min(paid.sum() - (1 + rho) * paid[list(pick)].sum() for pick in picks)


@settings(max_examples=60)
@given(GAINS, st.integers(1, 3), st.sampled_from([0.0, 1.0]))
def test_the_value_is_that_of_the_linear_program(gain, m, rho):
    n = len(gain)
    subsets = list(itertools.combinations(range(n), min(m, n)))
    rows = np.zeros((len(subsets), n + 1))
    for row, subset in zip(rows, subsets, strict=True):
        row[:n] = -gain
        row[list(subset)] = rho * gain[list(subset)]
        row[n] = 1.0
    simplex = np.append(np.ones(n), 0.0)[None]
    best = linprog(
        np.append(np.zeros(n), -1.0), rows, np.zeros(len(rows)), simplex, [1.0], [(0, 1)] * n + [(None, None)]
    )
    q, value = game(gain, (1 + rho) * m)
    if value > 0:
        assert value == pytest.approx(-best.fun, abs=1e-8)
        assert worst_case(q, gain, m, rho) == pytest.approx(value, abs=1e-9)
    else:
        assert -best.fun <= 1e-8
        np.testing.assert_allclose(q, 1.0 / n)


@given(GAINS, st.floats(0.0, 4.0), st.floats(0.1, 10.0))
def test_q_is_a_distribution_on_a_prefix_with_equal_pay_and_knows_no_scale(gain, cost, scale):
    q, value = game(gain, cost)
    assert q.sum() == pytest.approx(1.0) and (q >= 0).all()
    np.testing.assert_allclose(game(scale * gain, cost)[0], q, atol=1e-12)
    if value > 0:
        assert gain[q > 0].min() >= gain[q == 0].max(initial=0.0)
        np.testing.assert_allclose((q * gain)[q > 0], (q * gain).max())


def test_equal_gains_are_uniform_and_an_outlier_is_not_favoured():
    np.testing.assert_allclose(game(np.full(8, 0.3))[0], 1 / 8)
    np.testing.assert_allclose(game(np.full(3, 0.8125), cost=0.0)[0], 1 / 3)
    q, _ = game(np.array([1.0, 0.2, 0.2, 0.2, 0.2]))
    assert q[0] < q[1] and q[0] * 1.0 == pytest.approx(q[1] * 0.2)


def test_a_teacher_that_is_never_wrong_is_asked_greedily():
    assert game(np.array([0.2, 0.9, 0.5]), cost=0.0)[0].tolist() == [0, 1, 0]


@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=30).map(np.array), st.data())
def test_inclusion_probabilities_sum_to_the_size_and_exceed_one_nowhere(q, data):
    size = data.draw(st.integers(1, len(q)))
    pi = inclusion(q / q.sum(), size)
    assert pi.sum() == pytest.approx(size) and (pi <= 1 + 1e-12).all() and (pi > 0).all()
    chosen = draw(pi, np.random.default_rng(0))
    assert len(chosen) == size == len(np.unique(chosen))
    assert np.isin(np.flatnonzero(pi >= 1), chosen).all()


def test_draws_come_as_often_as_they_should():
    pi = inclusion(np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05]), 3)
    generator, rounds = np.random.default_rng(1), 4000
    counts = np.zeros(6)
    for _ in range(rounds):
        counts[draw(pi, generator)] += 1
    error = np.sqrt(pi * (1 - pi) / rounds)
    assert (np.abs(counts / rounds - pi) <= 4 * error + 1e-12).all()


def test_gains_rise_with_doubt_and_are_never_zero():
    sure, torn = [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]
    for kind in ("margin", "entropy", "loss"):
        low, high = gains(np.array([sure, torn]), kind)
        assert 0 < low < high
    assert gains(np.array([[0.6, 0.3, 0.1]]))[0] == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: game(np.array([0.0, 1.0])), "above 0"),
        (lambda: game(np.ones(3), cost=-1.0), "at least 0"),
        (lambda: inclusion(np.array([1.0, 0.0]), 2), "ask for fewer"),
        (lambda: gains(np.ones((1, 2)), "margins"), "not one of"),
    ],
)
def test_impossible_questions_are_errors(call, word):
    with pytest.raises(ValueError, match=word):
        call()

"""Intervals over seeds, verdicts and claims against slow formulas."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from embodkd.evaluation.interval import t_interval
from embodkd.evaluation.reproduce.spec import Check
from embodkd.evaluation.reproduce.summary import judged, verdict

values = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=9)


def t_quantile(freedom, share):
    """Where Student's cumulative distribution reaches `share`, by adding up its density."""
    x = np.linspace(0, 200, 4_000_001)
    constant = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    density = constant * (1 + x**2 / freedom) ** (-(freedom + 1) / 2)
    rising = 0.5 + np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
    return float(np.interp(share, rising, x))


@pytest.mark.parametrize("count", [2, 3, 5, 12])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_is_student_s(count, confidence):
    numbers = np.random.default_rng(count).normal(3.0, 2.0, count)
    mean, low, high = t_interval(list(numbers), confidence)
    spread = math.sqrt(sum((x - numbers.mean()) ** 2 for x in numbers) / (count - 1))
    half = t_quantile(count - 1, 0.5 + confidence / 2) * spread / math.sqrt(count)
    assert mean == pytest.approx(numbers.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), rel=1e-4)


def test_one_seed_says_nothing():
    assert t_interval([7.0]) == (7.0, -math.inf, math.inf)
    assert verdict([7.0], 0.5) == "undecided"
    with pytest.raises(ValueError, match="at least one"):
        t_interval([])


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_a_confidence_must_lie_between_0_and_1(confidence):
    with pytest.raises(ValueError, match="confidence"):
        t_interval([1.0, 2.0], confidence)


def slow_verdict(differences, margin):
    n, mean = len(differences), sum(differences) / len(differences)
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    # 97.5 % quantiles of Student's t for 1 to 8 degrees of freedom, from a printed table.
    half = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306][n - 2] * spread / math.sqrt(n)
    near = [abs(abs(edge) - limit) for edge in (mean - half, mean + half) for limit in (0.0, margin)]
    # The table has four digits: cases that hang on the fifth are not decided here.
    assume(min(near) > 1e-3 * (1 + half))
    if mean - half > 0:
        return "gain"
    if mean + half < 0:
        return "loss"
    return "no_gain" if -margin <= mean - half and mean + half <= margin else "undecided"


@given(values, st.floats(0.01, 20))
def test_a_verdict_follows_from_the_interval(differences, margin):
    assert verdict(differences, margin) == slow_verdict(differences, margin)


@given(values, st.floats(0.01, 20))
def test_the_other_direction_is_the_mirrored_verdict(differences, margin):
    mirrored = {"gain": "loss", "loss": "gain"}
    found = verdict(differences, margin)
    assert verdict([-d for d in differences], margin) == mirrored.get(found, found)
    assert verdict([-d for d in differences], margin, better="lower") == found


@given(values, st.floats(0.01, 20), st.floats(0.01, 20))
def test_a_wider_margin_can_only_turn_undecided_into_no_gain(differences, one, other):
    narrow, wide = (verdict(differences, margin) for margin in sorted((one, other)))
    assert narrow == wide or (narrow, wide) == ("undecided", "no_gain")


SHOWN = {
    "a": {"measures": {"accuracy": [90.0, 92.0, 94.0], "kl": [0.1, 0.2, 0.3]}},
    "b": {"measures": {"accuracy": [91.0, 91.0, 91.0], "kl": [0.3, 0.3, 0.3]}},
    "c": {"measures": {"accuracy": [84.9, 87.1, 89.0], "kl": [0.3, 0.3, 0.3]}},
}


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        # on average by one point, which lies between -4 and 6: the point does not decide
        ({"above": "b.accuracy"}, "undecided"),
        ({"below": "b.accuracy"}, "undecided"),
        ({"above": "b.accuracy", "over": "every_seed"}, "fails"),
        ({"above": "b.accuracy", "margin": -2.0, "over": "every_seed"}, "holds"),
        # paired by seeds, five points more are certain, and six are not
        ({"above": "c.accuracy"}, "holds"),
        ({"below": "c.accuracy"}, "fails"),
        ({"above": "c.accuracy", "margin": 4.7}, "holds"),
        ({"above": "c.accuracy", "margin": 5.0}, "undecided"),
        ({"above": "c.accuracy", "margin": 6.0}, "fails"),
        ({"below": 95, "over": "every_seed"}, "holds"),
        ({"below": 94, "over": "every_seed"}, "fails"),
        ({"above": 86}, "holds"),
        ({"above": 92}, "undecided"),
        ({"below": "b.accuracy", "factor": 2.0, "over": "every_seed"}, "holds"),
        ({"below": "b.accuracy", "factor": 0.5}, "fails"),
        # equal to the last bit is not beyond
        ({"above": "a.accuracy"}, "fails"),
    ],
)
def test_a_claim_is_judged_by_its_interval_or_by_every_seed(check, outcome):
    found = judged(Check("c", "a.accuracy", **check), SHOWN)
    assert found["outcome"] == outcome and found["passed"] is (outcome == "holds")
    assert len(found["left"]) == len(found["right"]) == (1 if found["over"] == "mean" else 3)


@given(values, st.floats(-20, 20), st.sampled_from(["above", "below"]))
def test_a_claim_against_a_number_is_the_verdict_on_the_differences(left, right, side):
    shown = {"a": {"measures": {"x": left}}}
    found = judged(Check("c", "a.x", **{side: right}), shown)
    _, low, high = t_interval([value - right for value in left])
    holds, fails = (low > 0, high < 0) if side == "above" else (high < 0, low > 0)
    expected = "holds" if holds else "fails" if fails or low == high == 0 else "undecided"
    assert found["outcome"] == expected and found["ci95"] == [low, high]


def test_a_claim_about_means_is_undecided_with_one_seed():
    shown = {"a": {"measures": {"accuracy": [99.0]}}}
    found = judged(Check("c", "a.accuracy", above=1.0), shown)
    assert found["outcome"] == "undecided" and found["ci95"] is None
    assert judged(Check("c", "a.accuracy", above=1.0, over="every_seed"), shown)["passed"]


def test_factor_comes_before_margin_and_the_bound_is_shown():
    found = judged(Check("c", "a.kl", below="b.kl", factor=0.5, margin=0.2, over="every_seed"), SHOWN)
    assert found["right"] == pytest.approx([0.35] * 3) and found["left"] == [0.1, 0.2, 0.3] and found["passed"]


def test_a_claim_needs_one_side_and_a_known_measure():
    for sides in ({}, {"above": 1.0, "below": 2.0}):
        with pytest.raises(ValueError, match="either below or above"):
            Check("c", "a.accuracy", **sides)
    with pytest.raises(ValueError, match="a has no measure 'acuracy': did you mean 'accuracy'"):
        judged(Check("c", "a.acuracy", above=1.0), SHOWN)

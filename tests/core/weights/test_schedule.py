"""Curves hit their ends exactly, warm up in equal parts, and come from numbers, mappings and back."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Schedule, Signals, as_weight, constant, cosine, linear, schedule, staircase
from embodkd.core.weights.weight import per_item, weigh


def test_ends_are_exact():
    for curve in (linear(1.0, 0.2), cosine(1.0, 0.2)):
        assert curve.at(0, 11) == 1.0 and curve.at(10, 11) == pytest.approx(0.2) == pytest.approx(curve.at(99, 11))
        assert curve.at(5, 11) == pytest.approx(0.6)


def test_cosine_is_half_a_wave():
    values = [cosine(2.0, 0.0).at(k, 101) for k in range(101)]
    expected = [1.0 + math.cos(math.pi * k / 100) for k in range(101)]
    assert values == pytest.approx(expected)


def test_warm_up_climbs_in_equal_parts_then_the_curve_begins():
    curve = cosine(1e-3, 1e-5, warmup=100)
    assert curve.at(0, 840) == pytest.approx(1e-5) and curve.at(49, 840) == pytest.approx(5e-4)
    assert curve.at(99, 840) == curve.at(100, 840) == 1e-3 and curve.at(839, 840) == pytest.approx(1e-5)


def test_stairs():
    assert [staircase(1.0, 0.5, 0.0).at(k) for k in range(5)] == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert [staircase(1.0, 0.1, at=(0, 3)).at(k) for k in range(5)] == [1.0, 1.0, 1.0, 0.1, 0.1]


@given(
    st.sampled_from(["linear", "cosine"]), st.floats(-5, 5), st.floats(-5, 5), st.integers(0, 20), st.integers(1, 60)
)
def test_curves_stay_between_their_ends_and_survive_serialisation(shape, start, end, warmup, total):
    curve = Schedule(shape, start, end, warmup)
    again = schedule(curve.to_config())
    low, high = min(start, end, 0.0), max(start, end, 0.0)
    for step in range(total):
        assert low - 1e-9 <= curve.at(step, total) <= high + 1e-9 and again.at(step, total) == curve.at(step, total)


def test_short_forms():
    assert schedule(3) == constant(3.0) and schedule(constant(1.0)) == constant(1.0)
    assert schedule({"shape": "step", "values": [1, 0.5]}).at(1) == 0.5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"shap": "cosine"}, r"beta: unknown key 'shap' for Schedule; did you mean 'shape'"),
        ({"shape": "cosin"}, "cosin"),
        ("cosine", "beta: 'cosine' is neither a number"),
        (True, "neither a number"),
        ({"shape": "step"}, "values"),
        ({"values": [1.0]}, "values"),
        ({"warmup": -1}, "warmup"),
        ({"shape": "step", "values": [1.0, 2.0], "at_steps": [0]}, "at_steps"),
        ({"shape": "step", "values": [1.0, 2.0], "at_steps": [0, 0]}, "must rise"),
    ],
)
def test_mistakes_are_named(value, message):
    with pytest.raises(ValueError, match=message):
        schedule(value, "beta")


def test_a_curve_over_time_needs_the_total():
    with pytest.raises(ValueError, match="total"):
        cosine(1.0).at(3)
    with pytest.raises(ValueError, match="starts at step 0"):
        constant(1.0).at(-1)


def test_weights_multiply_item_by_item():
    batch, s = Signals({"alpha": torch.tensor([0.0, 2.0])}), Signals()
    values = torch.tensor([5.0, 7.0])
    assert weigh("kd", values, as_weight(0.5), 0, 1, batch, s, {}).tolist() == [2.5, 3.5]
    assert weigh("kd", values, linear(1.0, 0.0), 2, 3, batch, s, {}).tolist() == [0.0, 0.0]
    assert weigh("kd", values, per_item("alpha"), 0, 1, batch, s, {}).tolist() == [0.0, 14.0]
    with pytest.raises(ValueError, match=r"weights.kd: gives shape \(1,\)"):
        weigh("kd", values, lambda b, s: torch.ones(1), 0, 1, batch, s, {})

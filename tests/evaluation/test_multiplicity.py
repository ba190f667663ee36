"""Holm's p-values, against the procedure as it was published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodkd.evaluation import holm

P_VALUES = st.lists(st.floats(0.0, 1.0), max_size=8)


def rejected(p_values: list[float], level: float) -> set[int]:
    """Holm's own words: test the smallest at level / n, the next at level / (n - 1), ... and stop at the first kept."""
    left, gone = set(range(len(p_values))), set()
    while left:
        smallest = min(left, key=lambda index: p_values[index])
        if p_values[smallest] * len(left) > level:
            break
        gone.add(smallest)
        left.remove(smallest)
    return gone


@given(P_VALUES, st.floats(0.001, 0.999))
def test_what_it_leaves_below_a_level_is_what_the_step_down_procedure_rejects(
    p_values: list[float], level: float
) -> None:
    adjusted = holm(p_values)
    assert {index for index, p in enumerate(adjusted) if p <= level} == rejected(p_values, level)


@given(P_VALUES)
def test_it_equals_the_largest_of_the_scaled_smaller_ones(p_values: list[float]) -> None:
    count = len(p_values)
    slow = [
        max(min(1.0, sum(q >= r for q in p_values) * r) for r in p_values if r <= p) if count else 0.0 for p in p_values
    ]
    assert holm(p_values) == pytest.approx(slow)


@given(P_VALUES)
def test_none_falls_none_exceeds_one_and_their_order_stays(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(raw <= p <= 1.0 for raw, p in zip(p_values, adjusted, strict=True))
    for raw, p in zip(p_values, adjusted, strict=True):
        for other_raw, other in zip(p_values, adjusted, strict=True):
            assert raw > other_raw or p <= other


@given(P_VALUES, st.data())
def test_a_smaller_p_value_makes_none_larger(p_values: list[float], data: st.DataObject) -> None:
    smaller = [data.draw(st.floats(0.0, p)) for p in p_values]
    assert all(one <= other for one, other in zip(holm(smaller), holm(p_values), strict=True))


def test_it_keeps_the_chance_of_any_false_claim_at_its_level() -> None:
    drawn = np.random.default_rng(0).random((4000, 5))
    assert np.mean([min(holm(row.tolist())) <= 0.05 for row in drawn]) == pytest.approx(0.05, abs=0.012)


def test_one_test_alone_is_left_as_it_is_and_none_give_none() -> None:
    assert holm([0.04]) == [0.04] and holm([]) == []


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_a_number_that_is_no_p_value_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, wrong])

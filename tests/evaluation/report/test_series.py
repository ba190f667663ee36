"""What a chart shows of many values: their mean over seeds at the same steps, their range, and spikes as spikes."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from embodkd.evaluation.report.charts import curve
from embodkd.evaluation.report.series import bounds, line


def drawn(svg: str, kind: str = "polyline") -> np.ndarray:
    """The points of the first line or band."""
    found = re.search(rf'{kind} class="[a-z]+" points="([^"]*)"', svg)
    assert found is not None
    return np.array([[int(n) for n in pair.split(",")] for pair in found[1].split()])


def test_a_spike_in_a_long_curve_is_marked_and_the_rest_keeps_the_whole_height() -> None:
    points = [(n, math.exp(-n / 300)) for n in range(1000)]
    points[700] = (700, 1e6)
    within = bounds([points])
    assert within == (pytest.approx(math.exp(-999 / 300)), 1.0)
    one = line("student", "--c0", [points], within, 300)
    assert one is not None and one.spikes == ((700, 1e6),) and one.high_P.max() == 1.0
    svg = curve([one], title="loss", x_label="updates", y_label="loss")
    assert svg.count("▲") == 1 and 'class="spike" x="70.07%"' in svg
    assert np.ptp(drawn(svg)[:, 1]) > 900, "of a thousand"


@pytest.mark.parametrize(
    "values",
    [
        [1 / (n + 1) for n in range(900)],
        [1.0, 0.5, 1e6],
        [float(n % 7) for n in range(500)],
        [3.0] * 100,
        [-(2.0**-n) for n in range(40)],
    ],
    ids=["a steep fall", "too few to tell", "noise", "a constant", "a fall below zero"],
)
def test_what_is_no_spike_is_drawn(values: list[float]) -> None:
    points = list(enumerate(values))
    one = line("a", "--c0", [points], bounds([points]), 100)
    assert one is not None and not one.spikes
    assert one.high_P.max() == max(values) and one.low_P.min() == min(values)


def test_seeds_that_were_logged_at_other_steps_are_averaged_at_the_same_ones() -> None:
    one = [(x, 1.0 * x) for x in range(0, 101, 10)]
    other = [(x, 1.0 * x + 2) for x in range(5, 81, 5)]
    both = line("a", "--c0", [one, other], (-1e9, 1e9), 300)
    assert both is not None and (both.x_P[0], both.x_P[-1]) == (5, 80), "where both were"
    np.testing.assert_allclose(both.mean_P, both.x_P + 1)
    np.testing.assert_allclose(both.high_P - both.low_P, 2)


def test_thinning_keeps_means_and_the_highest_and_lowest_value() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    one = line("a", "--c0", [list(enumerate(values))], (-9, 9), 100)
    assert one is not None and len(one.x_P) == 100 and one.x_P[-1] == 4999
    assert one.mean_P.mean() == pytest.approx(values.mean(), abs=1e-3)
    assert (one.low_P.min(), one.high_P.max()) == (values.min(), values.max())


def test_steps_that_were_logged_again_after_a_kill_count_once() -> None:
    one = line("a", "--c0", [[(1, 1.0), (2, 9.0), (3, 9.0), (2, 2.0), (3, 3.0)]], (0, 9), 10)
    assert one is not None and one.x_P.tolist() == one.mean_P.tolist() == [1, 2, 3]


def test_a_band_is_drawn_of_several_seeds_and_none_of_a_single_one() -> None:
    seeds = [[(x, x + k) for x in range(10)] for k in range(3)]
    for count, bands in ((1, 0), (3, 1)):
        one = line("a", "--c0", seeds[:count], (-99, 99), 100)
        assert one is not None
        assert curve([one], title="t", x_label="x", y_label="y").count("<polygon") == bands


def test_a_chart_says_its_axes_and_its_numbers_in_words() -> None:
    one = line("Teacher", "--c0", [[(0, 0.25), (100, 0.75)]], (0, 1), 10)
    assert one is not None
    svg = curve([one], title="success", x_label="control steps", y_label="share of episodes", share=True)
    assert "<title>success over control steps: Teacher from 25 % to 75 %</title>" in svg and 'role="img"' in svg
    assert ">control steps</text>" in svg and ">share of episodes</text>" in svg and ">75 %</text>" in svg


def test_of_many_lines_the_words_are_a_count_and_the_extremes() -> None:
    lines = [line(f"r{n}", "--c0", [[(0, 0.0), (9, float(n))]], (0, 99), 10) for n in range(40)]
    svg = curve([one for one in lines if one], title="loss", x_label="x", y_label="y")
    assert "<title>loss over x: 40 lines that end at 0 (r0) to 39 (r39)</title>" in svg

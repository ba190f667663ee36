"""Numbers with a range: which ones pass, and that an error names key, range and what was given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from embodkd.core import Budget
from embodkd.core.config.ranges import Count, NotNegative, Positive, Share, Within
from embodkd.core.config.schema import build
from embodkd.methods import make_method
from embodkd.models import make_model


@dataclass
class Numbers:
    share: Share = 0.5
    rate: Positive = 1.0
    decay: NotNegative = 0.0
    rounds: Count = 1
    clip: Positive | None = None
    widths: tuple[Count, ...] = (1,)


@pytest.mark.parametrize(
    "given",
    [{"share": 0}, {"share": 1.0}, {"rate": 1e-300}, {"decay": 0}, {"rounds": 1}, {"clip": None}, {"widths": [3, 1]}],
)
def test_the_ends_of_a_range_belong_to_it_as_it_says(given: dict) -> None:
    (name,) = given
    found = getattr(build(Numbers, given, "numbers"), name)
    assert found == (tuple(given[name]) if name == "widths" else given[name])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"share": 1.5}, "numbers.share: must be float from 0 to 1, got 1.5"),
        ({"share": -1}, "from 0 to 1, got -1"),
        ({"share": math.nan}, "numbers.share: must be a finite number, got nan"),
        ({"rate": 0.0}, "numbers.rate: must be float above 0, got 0.0"),
        ({"rate": math.inf}, "must be a finite number, got inf"),
        ({"decay": -1e-9}, "of at least 0"),
        ({"rounds": 0}, "numbers.rounds: must be int of at least 1, got 0"),
        ({"rounds": 1.5}, "1.5 is a float, expected int of at least 1"),
        ({"clip": 0}, "numbers.clip: must be float above 0, got 0"),
        ({"widths": [4, 0]}, r"numbers.widths\[1\]: must be int of at least 1, got 0"),
        ({"widths": ["a"]}, r"numbers.widths\[0\]: 'a' is a str, expected int of at least 1"),
        ({"rounds": 2**64}, "too large"),
        ({"share": 10**400}, "too large"),
    ],
)
def test_what_lies_outside_is_one_error_with_the_range(given: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(Numbers, given, "numbers")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Budget.of({"updates": 0}), "budget.updates: must be int of at least 1"),
        (lambda: Budget.of({"epochs": 0}), "budget.epochs"),
        (lambda: Budget.of({"batch_size": -3}), "budget.batch_size"),
        (lambda: Budget.of({"optimiser": {"max_grad_norm": 0}}), "max_grad_norm: must be float above 0"),
        (lambda: Budget.of({"optimiser": {"momentum": 1.5}}), "momentum: must be float from 0 to 1"),
        (lambda: Budget.of({"optimiser": {"weight_decay": -1}}), "weight_decay: must be float of at least 0"),
        (lambda: make_method({"name": "kd", "alpha": 2}, "splits"), "method.alpha: must be float from 0 to 1"),
        (lambda: make_method({"name": "kd", "temperature": 0}, "splits"), "method.temperature"),
        (lambda: make_method({"name": "supervised", "label_smoothing": 2}, "splits"), "label_smoothing.*from 0 to 1"),
        (lambda: make_model("mlp", (4,), 3, hidden=[0]), "hidden.*from 1 to 65536"),
        (lambda: make_model("mlp", (4,), 3, dropout=1.0), "dropout.*from 0 to below 1"),
    ],
)
def test_budgets_optimisers_methods_and_models_are_held_to_theirs(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_a_range_says_what_it_is() -> None:
    ranges = (Within(0, 1), Within(2), Within(0, above=True), Within(0.0, 1.0, above=True), Within(0, 1, below=True))
    assert [str(w) for w in ranges] == [
        "from 0 to 1",
        "of at least 2",
        "above 0",
        "above 0 to 1",
        "from 0 to below 1",
    ]
    assert [w.short for w in ranges] == ["0..1", "2..", ">0", ">0..1", "0..<1"]

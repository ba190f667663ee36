"""Measures of a classifier against slow formulas, and what a product must give."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import nn

from embodkd.core import Splits, TensorData
from embodkd.evaluation.judges import better
from embodkd.evaluation.measures import MEASURES, answers, ece, measured

C = 4


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def slow(name, logits, labels):
    """The measure item by item, in float64."""
    probabilities = [softmax(z) for z in logits]
    pairs = list(zip(probabilities, labels, strict=True))
    right = [float(np.argmax(p) == y) for p, y in pairs]
    if name == "accuracy":
        return 100 * sum(right) / len(right)
    if name == "class_accuracy":
        of_class = [[r for r, y in zip(right, labels, strict=True) if y == c] for c in range(C)]
        return 100 * np.mean([np.mean(r) for r in of_class if r])
    if name == "nll":
        return np.mean([-math.log(p[y]) for p, y in pairs])
    if name == "brier":
        return np.mean([sum((p[c] - (c == y)) ** 2 for c in range(C)) for p, y in pairs])
    if name == "confident_error":
        return 100 * np.mean([np.argmax(p) != y and p.max() >= 0.9 for p, y in pairs])
    if name == "ece":
        total = 0.0
        for b in range(15):
            inside = [k for k, (p, _) in enumerate(pairs) if b / 15 < p.max() <= (b + 1) / 15]
            if inside:
                gap = np.mean([right[k] for k in inside]) - np.mean([pairs[k][0].max() for k in inside])
                total += len(inside) / len(pairs) * abs(gap)
        return 100 * total
    raise AssertionError(name)


@pytest.mark.parametrize("name", MEASURES.names())
@given(
    # no two equal: a tie is broken by rounding
    logits=arrays.arrays(np.int64, (7, C), elements=st.integers(-200, 200), unique=True).map(lambda z: z / 40),
    labels=arrays.arrays(np.int64, 7, elements=st.integers(0, C - 1)),
)
def test_a_measure_equals_its_slow_formula(name, logits, labels):
    found = MEASURES.get(name)(torch.from_numpy(logits), torch.from_numpy(labels))
    assert found == pytest.approx(slow(name, logits, labels), abs=1e-9)


def test_a_perfect_and_sure_answer_has_the_best_value_of_every_measure():
    label = torch.arange(20) % C
    sure = 1000.0 * nn.functional.one_hot(label, C).double()
    best = {name: MEASURES.get(name)(sure, label) for name in MEASURES}
    assert best == {"accuracy": 100, "class_accuracy": 100, "nll": 0, "brier": 0, "ece": 0, "confident_error": 0}
    assert all((better(name) == "higher") == (value == 100) for name, value in best.items())


def test_a_classifier_that_knows_how_sure_it_may_be_is_calibrated():
    """Answers given with probability 0.8 that are right in 8 of 10 cases."""
    label = torch.tensor([0] * 8 + [1] * 2)
    logits = torch.tensor([[0.8, 0.2]], dtype=torch.float64).log().expand(10, 2)
    assert ece(logits, label) == pytest.approx(0, abs=1e-9)
    assert ece(logits, torch.zeros(10, dtype=torch.int64)) == pytest.approx(20)


class Table(nn.Module):
    """Gives the logits that stand in its input, in training mode rubbish."""

    def forward(self, x):
        return {"logits": x if not self.training else torch.full_like(x, torch.nan)}


def splits(columns=C, **extra):
    generator = torch.Generator().manual_seed(0)

    def part(first, size):
        x = torch.randn(size, columns, generator=generator)
        fields = {"input": x, "label": torch.arange(size) % C, "sample_id": torch.arange(first, first + size)}
        return TensorData(fields)

    parts = {name: part(100 * k, size) for k, (name, size) in enumerate({"a": 9, "b": 5, "c": 1100}.items())}
    return Splits(parts["a"], parts["b"], parts["c"], classes=C, shape=(columns,), extra=extra)


def test_every_labelled_part_is_measured_and_the_test_has_no_suffix():
    shifted = TensorData(
        {"input": torch.randn(3, C), "label": torch.zeros(3).long(), "sample_id": 9000 + torch.arange(3)}
    )
    pool = TensorData({"input": torch.randn(3, C), "sample_id": 9500 + torch.arange(3)})
    data = splits(shifted=shifted, pool=pool)
    found = measured(Table().train(), data)
    parts = ("", "@train", "@validation", "@shifted")
    assert set(found) == {f"{name}{part}" for name in MEASURES for part in parts}
    logits, label = (data.test.fields[name] for name in ("input", "label"))
    assert found["accuracy"] == pytest.approx(slow("accuracy", logits.numpy(), label.numpy()))


def test_answers_come_in_order_whatever_the_batch_size():
    data = splits()
    whole, label = answers(Table(), data.test, C)
    pieces, _ = answers(Table(), data.test, C, batch_size=7)
    assert torch.equal(whole, pieces) and torch.equal(whole, data.test.fields["input"].double())
    assert torch.equal(label, data.test.fields["label"])


def test_a_product_of_other_columns_is_refused_unless_its_method_classifies():
    data = splits(columns=2 * C)
    with pytest.raises(ValueError, match=r"\(512, 8\).*\(512, 4\).*classify"):
        answers(Table(), data.test, C)
    summed, _ = answers(Table(), data.test, C, lambda product, x: product(x)["logits"].reshape(-1, C, 2).sum(2))
    assert torch.equal(summed, data.test.fields["input"].reshape(-1, C, 2).sum(2).double())


def test_a_measure_on_a_part_is_as_good_as_the_measure():
    assert better("nll@shifted") == "lower" and better("accuracy@shifted") == "higher"
    assert better("of_my_own") == "higher"

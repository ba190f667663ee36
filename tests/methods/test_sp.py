"""SP's loss against a slow formula, its fixed point, and which layers it compares."""

import copy
import math

import pytest
import torch
from rows import blobs, budget, images, large, large_cnn, small, small_cnn

from embodkd.core import Signals
from embodkd.methods import get_method

SP = get_method("sp")


def player(student, teacher, data, **options):
    (stage,) = SP(**options).recipe(student, teacher, data, budget=budget()).stages
    return stage.players[0]


def values(one, batch):
    s = one.train.signals(batch)
    return one.terms(batch, s, t=one.given["t"].signals(batch)), s


def slow(s, t):
    """1 / N^2 |G_T - G_S|_F^2 in plain Python floats."""
    grams = []
    for rows in (s.flatten(1).tolist(), t.flatten(1).tolist()):
        gram = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in rows] for u in rows]
        grams.append([[g / math.hypot(*row) for g in row] for row in gram])
    return sum((a - b) ** 2 for u, v in zip(*grams, strict=True) for a, b in zip(u, v, strict=True)) / len(s) ** 2


def test_the_mean_over_the_batch_is_the_papers_formula_summed_over_layers():
    torch.manual_seed(0)
    student, teacher, data = small(), large(), blobs()
    batch = Signals(data.train.fields).map(lambda x: x[:9])
    found, s = values(player(student, teacher, data), batch)
    expected = slow(s["embedding"], teacher(batch["input"])["embedding"])
    assert found["sp"].mean().item() == pytest.approx(expected, rel=1e-4)
    taps = {"student_taps": ("layers.0", "layers.1"), "teacher_taps": ("layers.0", "layers.1")}
    found, _ = values(player(student, teacher, data, **taps), batch)
    first, second = (slow(student.layers[:k](batch["input"]), teacher.layers[:k](batch["input"])) for k in (1, 2))
    assert found["sp"].mean().item() == pytest.approx(first + second, rel=1e-4)


def test_networks_with_maps_are_compared_by_them():
    torch.manual_seed(0)
    student, teacher, data = small_cnn().eval(), large_cnn().eval(), images()
    batch = Signals(data.train.fields).map(lambda x: x[:7])
    found, s = values(player(student, teacher, data), batch)
    assert found["sp"].mean().item() == pytest.approx(slow(s["map"], teacher(batch["input"])["map"]), rel=1e-4)


def test_the_teacher_itself_has_nothing_to_learn_and_nothing_reaches_it():
    torch.manual_seed(0)
    teacher, data = large(), blobs()
    batch = Signals(data.train.fields)
    twin = copy.deepcopy(teacher)
    found, _ = values(player(twin, teacher, data), batch)
    found["sp"].sum().backward()
    assert not found["sp"].any() and all(p.grad is None or p.grad.abs().max() < 1e-6 for p in twin.parameters())
    found, _ = values(player(small(), teacher, data), batch)
    found["sp"].sum().backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert SP().measures(twin, teacher, data)["similarity_gap"] == pytest.approx(0.0, abs=1e-9)
    assert 0 < SP().measures(small(), teacher, data)["similarity_gap"] <= 4


def test_layers_are_compared_in_pairs():
    with pytest.raises(ValueError, match="must be as many"):
        SP(student_taps=("layers.0",))

"""CRD's contrast against the paper's formula, which items are negatives, and what learns."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rows import C, blobs, budget, large, small

from embodkd.core import Context, Signals, Splits, TensorData
from embodkd.methods import get_method
from embodkd.methods.crd import Critic, by_class, cka, contrast, other_classes

CRD = get_method("crd")
CONTEXT = Context(None, 0, torch.device("cpu"))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(row):
    return [v / math.hypot(*row) for v in row]


def test_the_contrast_is_the_papers_formula():
    """-log h - sum of log(1 - h), h = e / (e + N Z), item by item in plain floats."""
    n, m, k, z = 4, 7, 3, 2.5
    torch.manual_seed(0)
    critic = Critic(5, 6, 8, 0.3).double()
    critic.offset.fill_(math.log(k * z))
    own, same, everyone = draw(n, 5), draw(n, 6, seed=1), draw(m, 6, seed=2)
    other = torch.tensor([[0, 1, 2], [3, 3, 6], [5, 4, 0], [6, 1, 2]])
    u = [unit(row) for row in critic.student(own).tolist()]
    v, w = ([unit(row) for row in critic.teacher(x).tolist()] for x in (same, everyone))

    def h(a, b):
        e = math.exp(sum(p * q for p, q in zip(a, b, strict=True)) / 0.3)
        return e / (e + k * z)

    expected = [
        -math.log(h(u[i], v[i])) - sum(math.log(1 - h(u[i], w[j])) for j in other[i].tolist()) for i in range(n)
    ]
    found = contrast(*critic(own, same, everyone, other))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@given(st.lists(st.integers(0, C - 1), min_size=4, max_size=30), st.integers(1, 20))
def test_negatives_are_rows_of_other_classes(labels, count):
    label = torch.tensor([0, 1, *labels])
    ids = torch.randperm(len(label)) + 3
    data = blobs()
    train = TensorData({"input": torch.zeros(len(label), 6), "label": label, "sample_id": 1000 + ids})
    data = Splits(train, data.validation, data.test, C, data.shape)
    order = by_class(data)
    assert label[order].tolist() == sorted(label.tolist())
    rows = other_classes(data, count)(Signals(label=label))["negative"]
    assert rows.shape == (len(label), count) and rows.min() >= 0 and rows.max() < len(label)
    assert (label[order][rows] != label[:, None]).all()


def test_every_item_of_another_class_can_be_a_negative():
    data = blobs()
    label = data.train.fields["label"]
    rows = other_classes(data, 2000)(Signals(label=torch.tensor([1])))["negative"]
    assert set(rows.flatten().tolist()) == set(torch.nonzero(label[by_class(data)] != 1).flatten().tolist())


def test_one_class_alone_has_no_negatives():
    data = blobs()
    alone = TensorData({**data.train.fields, "label": torch.zeros(48, dtype=torch.int64)})
    with pytest.raises(ValueError, match="of one class"):
        CRD().recipe(small(), large(), Splits(alone, data.validation, data.test, C, data.shape), budget=budget())


def test_the_scale_is_the_mean_of_e_over_pairs_at_the_first_weights():
    torch.manual_seed(0)
    student, teacher, data = small(), large(), blobs()
    items, scale, stage = CRD(negatives=9, width=4).recipe(student, teacher, data, budget=budget()).stages
    items(CONTEXT), scale(CONTEXT)
    critic = stage.players[0].helpers["critic"]
    x = data.train.fields["input"]
    u = critic.student_side(student.eval()(x)["embedding"])
    v = critic.teacher_side(teacher.eval()(x)["embedding"])
    mean = (u @ v.T / critic.temperature).double().exp().mean()
    assert float(critic.offset) == pytest.approx(math.log(9 * mean.item()), rel=1e-5)
    torch.testing.assert_close(items["embedding"], teacher(x)["embedding"][by_class(data)])


def test_student_and_projections_learn_and_the_teacher_does_not():
    torch.manual_seed(0)
    student, teacher, data = small(), large(), blobs()
    items, _, stage = CRD(negatives=9, width=4).recipe(student, teacher, data, budget=budget()).stages
    items(CONTEXT)
    player, batch = stage.players[0], Signals(data.train.fields)
    batch = batch.merge(**stage.prepare[0](batch))
    player.terms(batch, player.train.signals(batch), t=player.given["t"].signals(batch))["crd"].sum().backward()
    critic = player.helpers["critic"]
    for module in (student.layers, critic.student, critic.teacher):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())
    assert all(p.grad is None for p in teacher.parameters())


def test_kernel_alignment_sees_neither_turn_nor_scale_and_is_its_slow_formula():
    a, b = draw(12, 4), draw(12, 3, seed=1)
    turn = torch.linalg.qr(draw(4, 4, seed=2)).Q
    assert cka(a, 3.0 * a @ turn + 1.0) == pytest.approx(1.0)
    k, m = ((x - x.mean(0)) @ (x - x.mean(0)).T for x in (a, b))
    assert cka(a, b) == pytest.approx(float((k * m).sum() / (k.norm() * m.norm())))
    assert 0 <= cka(a, b) < 1


def test_impossible_numbers_are_refused():
    for wrong in ({"negatives": 0}, {"width": 0}, {"contrast_temperature": 0.0}):
        with pytest.raises(ValueError, match="method crd"):
            CRD(**wrong)

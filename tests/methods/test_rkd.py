"""RKD: relations do not see where a space lies, how it is turned or how large it is."""

import pytest
import torch
from rows import blobs, budget, images, large, large_cnn, small, small_cnn

from embodkd.core import Signals, angle_relation, distance_relation
from embodkd.methods.rkd import RKD
from embodkd.parts.networks.features import pooled

RELATIONS = [distance_relation, angle_relation]


def vectors(seed, n=6, d=4):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("relation", RELATIONS)
def test_nothing_changes_when_a_space_is_moved_turned_scaled_or_widened(relation):
    value, target = vectors(0), vectors(1, d=3)
    turn = torch.linalg.qr(vectors(2, n=7, d=7)).Q[:4]
    moved = 5.0 * value @ turn + vectors(3, n=1, d=7)
    torch.testing.assert_close(relation(moved, target), relation(value, target))
    torch.testing.assert_close(relation(moved, value), torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("relation", RELATIONS)
def test_items_that_coincide_have_finite_values_and_gradients(relation):
    same = torch.ones(5, 4, requires_grad=True)
    value = relation(same, torch.randn(5, 4))
    value.sum().backward()
    assert value.isfinite().all() and same.grad.isfinite().all()
    assert not relation(same, torch.zeros(5, 2)).any()
    alone = relation(torch.randn(1, 4), torch.randn(1, 3))
    assert alone.shape == (1,) and not alone.any()


def test_a_triangle_by_hand():
    """A right-angled student and an equilateral teacher: cosines 0, 0.6, 0.8 against 1/2 thrice."""
    student = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]], dtype=torch.float64)
    gaps = torch.tensor([0.5, 0.1, 0.3], dtype=torch.float64)
    torch.testing.assert_close(angle_relation(student, teacher), gaps.square() / 2 * 2 / 9)
    sides = [(3 / 4, 1.0), (3 / 4, 5 / 4), (1.0, 5 / 4)]
    expected = torch.tensor([sum((a - 1) ** 2 / 2 for a in pair) / 3 for pair in sides], dtype=torch.float64)
    torch.testing.assert_close(distance_relation(student, teacher), expected)


def test_the_terms_compare_embeddings_or_tapped_layers():
    data = images()
    student, teacher = small_cnn(), large_cnn()
    (player,) = (
        RKD(student_tap="layers.0", teacher_tap="layers.1")
        .recipe(student, teacher, data, budget=budget())
        .stages[0]
        .players
    )
    batch = data.train.gather(torch.arange(8).numpy(), 0)
    s, t = player.train.signals(batch), player.given["t"].signals(batch)
    values = player.terms(batch, s, t)
    pair = (student.layers[0](batch.input).mean((2, 3)), teacher.eval().layers(batch.input).mean((2, 3)))
    torch.testing.assert_close(values["distance"], distance_relation(*pair))
    torch.testing.assert_close(values["angle"], angle_relation(*pair))


def test_normalised_vectors_lose_their_length():
    (player,) = RKD(normalise=True).recipe(small(), large(), blobs(), budget=budget()).stages[0].players
    s, t, scale = vectors(0), vectors(1), torch.linspace(0.5, 3.0, 6, dtype=torch.float64)[:, None]
    logits = torch.randn(6, 3, dtype=torch.float64)
    values = [
        player.terms(Signals(label=torch.zeros(6).long()), Signals(logits=logits, embedding=z), Signals(embedding=t))
        for z in (s, s * scale)
    ]
    torch.testing.assert_close(*values)
    assert not torch.allclose(distance_relation(s, t), distance_relation(s * scale, t))


def test_measures_are_zero_for_the_teacher_itself_and_the_losses_otherwise():
    student, teacher, data = small(), large(), blobs()
    assert RKD().measures(teacher, teacher, data) == {"distance_gap": 0.0, "angle_gap": 0.0}
    pair = [pooled(model(data.test.fields["input"])["embedding"].detach()) for model in (student, teacher)]
    found = RKD().measures(student, teacher, data)
    assert found["distance_gap"] == pytest.approx(float(distance_relation(*pair).mean()), rel=1e-5)
    assert found["angle_gap"] == pytest.approx(float(angle_relation(*pair).mean()), rel=1e-5)

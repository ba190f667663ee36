"""LELP: its directions, its targets, what they reduce to, and the subclasses that it finds."""

import numpy as np
import pytest
import torch
from rows import C, blobs, budget, large, small

from embodkd.core import Context, Role, Splits, TensorData, Trainer, collect, soft_cross_entropy
from embodkd.methods import get_method
from embodkd.parts.classes.subclasses import as_known, at_random, known_places, refined_target, shared_information
from embodkd.parts.networks.subclass_head import SubclassHead

LELP = get_method("lelp")
CONTEXT = Context(None, 0, torch.device("cpu"))
S = 3


def directions(teacher, data, **options):
    """The table's tensors in the form of the equation: (direction (C, S, D), offset (C, S))."""
    found = LELP(**{"subclasses": S, **options}).directions(teacher, data, 0, CONTEXT)
    return found["direction"], found["offset"]


def within(teacher, data, embedding_shift=None, **options):
    """(r (N, C, S) of the test part, its signals of the teacher)."""
    method = LELP(**{"subclasses": S, **options})
    t = collect(Role(teacher, "frozen"), data.test)
    if embedding_shift is not None:
        t = t.merge(embedding=t.embedding + embedding_shift)
    steps, function = method.within(teacher, data, 0)
    for step in steps:
        step(CONTEXT)
    return function(t, t), t


def train_embeddings(teacher, data):
    t = collect(Role(teacher, "frozen"), data.train)
    return [t.embedding[t.label == c].double() for c in range(C)]


def test_directions_are_orthogonal_and_leave_the_teachers_logits_alone():
    data, teacher = blobs(), large()
    direction, _ = directions(teacher, data)
    weight = teacher.classifier.weight.detach()
    for c in range(C):
        square = direction[c] @ direction[c].T
        # One scalar per class: orthonormal up to 1 / sigma_c.
        torch.testing.assert_close(square, square[0, 0] * torch.eye(S), atol=1e-4 * float(square[0, 0]), rtol=0)
        assert (weight @ direction[c].T).abs().max() < 1e-5 * direction[c].abs().max()
    shift = 3.0 * weight[1]
    (r, t), (moved, other) = within(teacher, data), within(teacher, data, embedding_shift=shift)
    torch.testing.assert_close(r, moved, atol=1e-4, rtol=0)
    logits = [teacher.classifier(z.embedding) for z in (t, other)]
    assert (logits[0] - logits[1]).abs().max() > 0.1


def test_without_the_projector_logits_and_subclasses_move_together():
    data, teacher = blobs(), large()
    shift = 3.0 * teacher.classifier.weight.detach()[1]
    r, _ = within(teacher, data, null_space=False)
    moved, _ = within(teacher, data, embedding_shift=shift, null_space=False)
    assert (r - moved).abs().max() > 0.05


def test_scores_are_centred_and_of_unit_spread_over_their_class():
    data, teacher = blobs(), large()
    direction, offset = directions(teacher, data)
    for c, rows in enumerate(train_embeddings(teacher, data)):
        scores = rows @ direction[c].double().T - offset[c].double()
        assert scores.mean(0).abs().max() < 1e-4
        assert float(scores.std(correction=0)) == pytest.approx(1.0, abs=1e-4)


def test_the_span_is_that_of_the_projected_class_and_rotation_evens_the_variances():
    data, teacher = blobs(), large()
    weight = teacher.classifier.weight.detach().double().numpy()
    project = np.eye(weight.shape[1]) - np.linalg.pinv(weight) @ weight
    turned, plain = (directions(teacher, data, rotation=r)[0].double().numpy() for r in ("per_class", "none"))
    for c, rows in enumerate(train_embeddings(teacher, data)):
        centred = (rows.numpy() - rows.numpy().mean(0)) @ project
        top = np.linalg.svd(centred, full_matrices=False)[2][:S]
        for found in (turned[c], plain[c]):
            basis = found / np.linalg.norm(found, axis=1, keepdims=True)
            np.testing.assert_allclose(basis.T @ basis, top.T @ top, atol=1e-5)
        variances = [(centred @ (f / np.linalg.norm(f, axis=1, keepdims=True)).T).var(0) for f in (turned[c], plain[c])]
        assert variances[0].mean() == pytest.approx(variances[1].mean())
        assert not np.allclose(turned[c], plain[c], atol=1e-2) and (np.diff(variances[1]) < 0).all()


def test_the_rotation_is_one_per_class_or_one_for_all():
    data, teacher = blobs(), large()
    options = {"standardise": False}
    plain, shared, own = (directions(teacher, data, rotation=r, **options)[0] for r in ("none", "shared", "per_class"))
    turns = [[turned[c] @ plain[c].T for c in range(C)] for turned in (shared, own)]
    torch.testing.assert_close(turns[0][0], turns[0][1], atol=1e-4, rtol=0)
    assert (turns[1][0] - turns[1][1]).abs().max() > 0.1


@pytest.mark.parametrize("split", ["pca", "random_directions", "random"])
def test_a_target_refines_the_teachers_probabilities(split):
    r, t = within(large(), blobs(), split=split)
    target = refined_target(t.logits, r, temperature=2.0).reshape(-1, C, S)
    torch.testing.assert_close(target.sum(2), (t.logits / 2).softmax(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(target.sum((1, 2)), torch.ones(len(target)))


def test_the_temperature_of_subclasses_goes_from_one_of_them_to_all_alike():
    data, teacher = blobs(), large()
    flat, t = within(teacher, data, beta=1e6)
    torch.testing.assert_close(flat, torch.full_like(flat, 1 / S), atol=1e-4, rtol=0)
    sharp, _ = within(teacher, data, beta=1e-6)
    usual, _ = within(teacher, data)
    torch.testing.assert_close(sharp, torch.nn.functional.one_hot(usual.argmax(2), S).float(), atol=1e-3, rtol=0)


def terms_of(method, student, teacher, data, seed=0):
    *steps, stage = method.recipe(student, teacher, data, seed=seed, budget=budget()).stages
    for step in steps:
        step(CONTEXT)
    player, batch = stage.players[0], data.train.gather(np.arange(16), 0)
    given = {name: role.signals(batch) for name, role in player.given.items()}
    s = player.train.signals(batch)
    return player.terms(batch, s, **given), s, given["t"], batch


def test_one_subclass_is_distillation_with_the_student_at_temperature_one():
    student = small()
    terms, s, t, _ = terms_of(LELP(subclasses=1, temperature=4.0), student, large(), blobs())
    assert isinstance(student.classifier, torch.nn.Linear)
    assert torch.equal(terms["lelp"], soft_cross_entropy(s.logits, (t.logits / 4).softmax(1)))


def test_the_loss_is_cross_entropy_over_all_outputs_and_of_the_sums():
    student = small()
    terms, s, t, batch = terms_of(LELP(subclasses=S, alpha=0.3), student, large(), blobs())
    assert isinstance(student.classifier, SubclassHead)
    q = s.expanded.detach().double().softmax(1)
    summed = q.reshape(-1, C, S).sum(2)
    expected = -summed.gather(1, batch.label[:, None]).log().squeeze(1)
    torch.testing.assert_close(terms["ce"].detach().double(), expected, atol=1e-5, rtol=1e-5)
    weights = (
        LELP(subclasses=S, alpha=0.3).recipe(small(), large(), blobs(), budget=budget()).stages[1].players[0].weights
    )
    assert weights == {"lelp": 0.7, "ce": 0.3}


def test_directions_may_follow_the_teachers_answers_instead_of_labels():
    data, teacher = blobs(), large()
    with torch.no_grad():
        teacher.classifier.weight.zero_(), teacher.classifier.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    with pytest.raises(ValueError, match="lelp.subclasses, class 0: 0 items"):
        directions(teacher, data, group_by="teacher")
    assert torch.isfinite(directions(teacher, data, group_by="label")[0]).all()


def test_too_many_subclasses_are_an_error_that_names_the_class():
    recipe = LELP(subclasses=15).recipe(small(), large(), blobs(), budget=budget())
    with pytest.raises(ValueError, match="lelp.subclasses, class 0: 16 items vary in 1. directions, 15 are asked"):
        Trainer(quiet=True).fit(recipe)


def with_subclass(data):
    """Subclass numbers 10 + label for one half of each class and 20 + label for the other."""

    def enter(part):
        number = 10 * (1 + (torch.arange(part.size()) // C) % 2) + part.fields["label"]
        return TensorData({**part.fields, "subclass": number})

    return Splits(*(enter(p) for p in (data.train, data.validation, data.test)), classes=C, shape=data.shape)


def test_an_oracle_shares_out_the_own_class_as_the_data_know_it():
    data = with_subclass(blobs())
    r, t = within(large(), data, split="oracle")
    for row, label, number in zip(r, t.label.tolist(), t.subclass.tolist(), strict=True):
        assert row[label].tolist() == [float(j == number // 10 - 1) for j in range(S)]
        assert all((row[c] == 1 / S).all() for c in range(C) if c != label)
    with pytest.raises(ValueError, match="class 0 has 2 subclasses in the data"):
        known_places(data, 1, "lelp.subclasses")
    with pytest.raises(ValueError, match="needs data with a field subclass"):
        known_places(blobs(), S, "lelp.subclasses")


def test_random_subclasses_follow_the_sample_and_are_even():
    ids = torch.arange(3000)
    r = at_random(ids, C, S, 0)
    order = torch.randperm(3000)
    assert torch.equal(at_random(ids[order], C, S, 0), r[order]) and not torch.equal(at_random(ids, C, S, 1), r)
    assert (r.sum(2) == 1).all() and (r.mean(0) - 1 / S).abs().max() < 0.05
    assert shared_information(r, ids % 7, ids % C) < 0.02


def test_shared_information_counts_within_classes_only():
    label = torch.arange(60) % C
    subclass = torch.arange(60) // 30
    exact = as_known(subclass, label, C, 2)
    assert shared_information(exact, subclass, label) == pytest.approx(1.0)
    assert shared_information(exact.flip(2), subclass, label) == pytest.approx(1.0)
    assert shared_information(as_known(torch.zeros_like(label), label, C, 2), subclass, label) == 0.0


def test_measures_compare_targets_student_and_chance_with_the_hidden_subclasses():
    data, teacher = with_subclass(blobs()), large()
    student = small()
    LELP(subclasses=S).recipe(student, teacher, data, budget=budget())
    assert set(LELP(subclasses=S).measures(student, teacher, data)) == {"target_nmi", "random_nmi", "student_nmi"}
    assert set(LELP(subclasses=S).measures(small(), teacher, data)) == {"target_nmi", "random_nmi"}
    assert LELP().measures(student, teacher, blobs()) == {}
    assert LELP(subclasses=2, split="oracle").measures(small(), teacher, data)["target_nmi"] == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_and_embeddings_keep_the_loss_finite(dtype):
    data, teacher = blobs(), large()
    (steps, function) = LELP(subclasses=S, beta=1e-3).within(teacher, data, 0)
    steps[0](CONTEXT)
    t = collect(Role(teacher, "frozen"), data.test).map(lambda v: (v * 1e4).to(dtype) if v.is_floating_point() else v)
    expanded = (1e4 * torch.randn(24, C * S)).to(dtype).requires_grad_()
    loss = soft_cross_entropy(expanded, refined_target(t.logits, function(t, t)))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(expanded.grad).all()

"""ND: the identities of its loss, its class means, its warm-up, its projector, and what it is composed with."""

import numpy as np
import pytest
import torch
from rows import C, blobs, budget, large, small
from torch import nn

from embodkd.core import Context, Signals, Trainer, correlation, cross_entropy, decoupled_kl, kl, norm_direction
from embodkd.core.terms.base import unit
from embodkd.methods import get_method
from embodkd.models import make_model

ND = get_method("nd")
N, D = 12, 5
FORMS = ["joint", "direction", "norm"]


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vectors():
    """(f, t, e) with f shorter than t in the first half and longer in the second."""
    f, t, e = draw(N, D), draw(N, D, seed=1), draw(N, D, seed=2)
    size = torch.cat([torch.full((N // 2,), 0.5), torch.full((N // 2,), 2.0)]).double()
    return unit(f) * (size * t.norm(dim=1))[:, None], t, e


def parts(student, teacher, data=None, **options):
    """(terms of a batch with the loss's own signals, the player) of a method ready to train."""
    data = data or blobs()
    table, stage = ND(**options).recipe(student, teacher, data, budget=budget()).stages
    table(Context(None, 0, torch.device("cpu")))
    player = stage.players[0]
    batch = data.train.gather(np.arange(16), 0)

    def terms():
        given = {name: answerer.signals(batch) for name, answerer in player.given.items()}
        return player.terms(batch, player.train.signals(batch), **given)

    return terms, player, batch


@pytest.mark.parametrize(("size", "expected"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.0), (7.0, 0.0)])
def test_a_feature_on_its_class_mean_is_judged_by_its_length_up_to_the_teachers(size, expected):
    _, t, e = vectors()
    f = size * unit(e) * t.norm(dim=1, keepdim=True)
    torch.testing.assert_close(norm_direction(f, t, e), torch.full((N,), expected, dtype=torch.float64))


def test_a_longer_feature_turns_and_a_shorter_one_is_pulled_along_the_mean():
    f, t, e = vectors()
    f.requires_grad_()
    (slope,) = torch.autograd.grad(norm_direction(f, t, e).mean(), f)
    short, long = slice(0, N // 2), slice(N // 2, N)
    torch.testing.assert_close(slope[short], -unit(e)[short] / (N * t.norm(dim=1, keepdim=True)[short]))
    assert slope[long].any() and (slope * f).sum(1)[long].abs().max() < 1e-12
    torch.testing.assert_close(norm_direction(f * 3, t, e)[long], norm_direction(f, t, e)[long])


def test_the_two_halves_multiply_to_the_whole():
    f, t, e = vectors()
    joint, direction, norm = (1 - norm_direction(f, t, e, form=form) for form in FORMS)
    torch.testing.assert_close(joint, direction * norm)


@pytest.mark.parametrize("form", FORMS)
def test_only_the_direction_of_the_mean_and_the_length_of_the_teacher_count(form):
    f, t, e = vectors()
    scale = draw(N, 1, seed=3).exp()
    turned = t @ torch.linalg.qr(draw(D, D, seed=4)).Q
    value = norm_direction(f, t, e, form=form)
    torch.testing.assert_close(norm_direction(f, turned, e * scale, form=form), value)
    t.requires_grad_(), e.requires_grad_(), f.requires_grad_()
    slopes = torch.autograd.grad(norm_direction(f, t, e, form=form).sum(), (f, t, e), allow_unused=True)
    assert slopes[0].any() and slopes[1] is None and slopes[2] is None


@pytest.mark.parametrize("form", FORMS)
def test_gradient_is_that_of_finite_differences(form):
    f, t, e = vectors()
    assert torch.autograd.gradcheck(lambda f: norm_direction(f, t, e, form=form), f.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS)
def test_zero_and_huge_features_have_finite_values_and_gradients(form, dtype):
    f, t, e = (v.to(dtype) for v in vectors())
    f = torch.cat([f * 1e15, f * 0, f * 0, f * 1e-30]).requires_grad_()
    value = norm_direction(f, torch.cat([t, t, t * 0, t]), torch.cat([e, e, e, e * 0]), form=form)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(f.grad).all()
    # A dead feature still learns where to go, whichever length the teacher's has.
    assert form == "norm" or f.grad[N : 3 * N].any(1).all()


def test_an_unknown_form_is_an_error():
    with pytest.raises(ValueError, match="form 'cosine' is not one of joint, direction, norm"):
        norm_direction(*vectors(), form="cosine")


def test_class_means_are_those_of_the_true_labels_over_the_training_part():
    data, teacher = blobs(), make_model("mlp", (6,), C, hidden=(16, 8), dropout=0.5)
    _, player, _ = parts(small(), teacher, data)
    x, label = data.train.fields["input"], data.train.fields["label"]
    with torch.no_grad():
        features = teacher.eval()(x)["embedding"].double().numpy()
    for c in range(C):
        mean = sum(f for f, y in zip(features, label.tolist(), strict=True) if y == c)
        own = player.given["mean"].signals(Signals(label=torch.tensor([c]))).direction_ND[0]
        np.testing.assert_allclose(own, mean / np.linalg.norm(mean), rtol=1e-5, atol=1e-6)


def test_warm_up_climbs_by_epochs_from_zero_and_touches_the_teachers_logits_only():
    player = ND(kd_weight=3.0, warmup_epochs=5).recipe(small(), large(), blobs(), budget=budget()).stages[1].players[0]
    weights = player.ready_weights()
    # 48 items in batches of 16: 3 updates per epoch.
    expected = [3.0 * min(1.0, epoch / 5) for epoch in range(8) for _ in range(3)]
    assert [weights["kd"].at(step, 24) for step in range(24)] == pytest.approx(expected)
    assert {(weights["ce"].at(step, 24), weights["nd"].at(step, 24)) for step in range(24)} == {(1.0, 2.0)}
    off = ND(warmup_epochs=0).recipe(small(), large(), blobs(), budget=budget()).stages[1].players[0]
    assert off.ready_weights()["kd"].at(0, 24) == 1.0


def test_the_projector_serves_the_features_only_and_is_dropped():
    student = small()
    before = {name for name, _ in student.named_parameters()}
    terms, player, batch = parts(student, large(), dropout=0.0)
    norm, _, linear = project = player.helpers["projector"]
    assert (norm.weight == 1).all() and not norm.bias.any() and not linear.bias.any()
    assert linear.weight.shape == (16, 8)
    found, s = terms(), player.train.signals(batch)
    torch.testing.assert_close(found["ce"], cross_entropy(s.logits, batch.label))
    t, mean = (player.given[name].signals(batch) for name in ("t", "mean"))
    torch.testing.assert_close(found["nd"], norm_direction(project(s.embedding), t.embedding, mean.direction))
    assert {name for name, _ in student.named_parameters()} == before


def test_the_projector_is_the_same_whatever_was_drawn_before_and_learns():
    def make():
        torch.rand(3)
        return ND(projector_std=0.01).recipe(small(), large(), blobs(), seed=4, budget=budget())

    first, second = (make().stages[1].players[0].helpers["projector"][2] for _ in range(2))
    assert torch.equal(first.weight, second.weight) and first.bias.any()
    assert 0.005 < float(first.weight.detach().std()) < 0.02
    recipe = make()
    linear = recipe.stages[1].players[0].helpers["projector"][2]
    former = linear.weight.detach().clone()
    Trainer(quiet=True).fit(recipe)
    assert not torch.equal(linear.weight, former)


def test_equal_widths_need_no_projector():
    student, teacher = small(), make_model("mlp", (6,), C, hidden=(16, 8))
    assert isinstance(parts(student, teacher)[1].helpers["projector"], nn.Identity)


@pytest.mark.parametrize("kd", ["kd", "dkd", "dist"])
def test_the_teachers_logits_can_come_through_three_losses(kd):
    terms, player, batch = parts(small(), large(), kd=kd, temperature=2.0, dkd_alpha=0.5, dkd_beta=6.0)
    s, t = player.train.signals(batch).logits, player.given["t"].signals(batch).logits
    expected = {
        "kd": kl(s, t, temperature=2.0),
        "dkd": decoupled_kl(s, t, batch.label, alpha=0.5, beta=6.0, temperature=2.0),
        "dist": correlation(s, t, temperature=2.0),
    }
    torch.testing.assert_close(terms()["kd"], expected[kd])


def test_dkd_is_kd_when_its_second_weight_is_the_teachers_doubt():
    s, t, label = draw(N, C), draw(N, C, seed=1), torch.arange(N) % C
    doubt = 1 - (t / 3).softmax(1).gather(1, label[:, None]).squeeze(1)
    first, second = (decoupled_kl(s, t, label, alpha=a, beta=1 - a, temperature=3.0) for a in (1.0, 0.0))
    torch.testing.assert_close(first + doubt * second, kl(s, t, temperature=3.0))


def test_feature_matching_is_offered_beside_it():
    student, teacher = small(), make_model("mlp", (6,), C, hidden=(16, 8))
    terms, player, batch = parts(student, teacher, form="mse")
    gap = player.train.signals(batch).embedding - player.given["t"].signals(batch).embedding
    torch.testing.assert_close(terms()["nd"], gap.square().mean(1))


def test_measures_are_the_length_and_the_cosine_on_the_test_part():
    data, student, teacher = blobs(), small(), make_model("mlp", (6,), C, hidden=(16, 8))
    found = ND().measures(student, teacher, data)
    x, label = data.test.fields["input"], data.test.fields["label"]
    features = student(x)["embedding"].detach()
    means = ND().recipe(student, teacher, data, budget=budget()).stages[0]
    means(Context(None, 0, torch.device("cpu")))
    cosines = [float(f @ means["direction"][y] / f.norm()) for f, y in zip(features, label, strict=True)]
    assert found["norm"] == pytest.approx(float(features.norm(dim=1).mean()), rel=1e-5)
    assert found["cosine"] == pytest.approx(sum(cosines) / len(cosines), abs=1e-5)
    assert set(ND().measures(small(), large(), data)) == {"norm"}

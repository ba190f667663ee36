"""HARD's two objectives against their equations: who moves, what vanishes, what an augmentor learns to do."""

import copy

import numpy as np
import pytest
import torch
from rows import C, budget, images, large_cnn, small_cnn
from torch.nn import functional

from embodkd.core import Optimiser, Signals, Trainer
from embodkd.core.batch.pieces import prepared
from embodkd.core.engine.objective import objective
from embodkd.methods.hard import HARD
from embodkd.methods.kd import KD
from embodkd.methods.supervised import Supervised
from embodkd.parts.images.augment import Affine

TAU = 2.0


def models(dtype=torch.float64):
    torch.manual_seed(0)
    return small_cnn().to(dtype), large_cnn().to(dtype).eval()


def game(student, teacher, **options):
    """(learner, adversary, prepared batch of all training items in float64)."""
    stage = HARD(**options).recipe(student, teacher, images(), seed=1, budget=budget()).stages[-1]
    source = images().train
    batch = source.gather(np.arange(source.size()), 0)
    batch = batch.merge(input=batch.input.double())
    for player in stage.players:
        player.train.model.double()
    return *stage.players, prepared(batch, stage.prepare)


def asked(player, batch):
    """(its terms, its whole loss as a mean)."""
    given = {name: answerer.signals(batch) for name, answerer in player.given.items()}
    s = player.train.signals(batch)
    return player.terms(batch, s, **given), objective(player, batch, s, given, 0, 10)[1] / batch.items_count


def divergence(p_logits, q_logits):
    """D(p, q), slowly: tau^2 sum p log(p / q)."""
    p, q = (p_logits / TAU).softmax(1), (q_logits / TAU).softmax(1)
    return TAU**2 * (p * (p / q).log()).sum(1)


def augmentor_loss(augmentor, student, teacher, batch, lambda_t=1.0, lambda_s=1.0):
    new = augmentor({"input": batch.input, "noise": batch.noise})["image"]
    t, t_new, s_new = (m(x)["logits"] for m, x in ((teacher, batch.input), (teacher, new), (student.eval(), new)))
    return (lambda_t * divergence(t.detach(), t_new) - lambda_s * divergence(t_new, s_new).clamp(max=10)).mean()


def test_both_losses_are_those_of_the_equations_and_the_teacher_is_driven_too():
    student, teacher = models()
    learner, adversary, batch = game(student, teacher, teacher_weight=0.3, student_weight=0.7, min_agreement=0.0)
    t, t_new = teacher(batch.input)["logits"], teacher(batch.augmented)["logits"]
    s, s_new = student(batch.input)["logits"], student(batch.augmented)["logits"]
    expected = (divergence(t, s) + divergence(t_new, s_new)).mean()
    torch.testing.assert_close(asked(learner, batch)[1], expected)
    slow = augmentor_loss(adversary.train.model, student, teacher, batch, 0.3, 0.7)
    own = asked(adversary, batch)[1]
    torch.testing.assert_close(own, slow)
    for a, b in zip(*(torch.autograd.grad(v, list(adversary.parameters())) for v in (own, slow)), strict=True):
        torch.testing.assert_close(a, b)
        assert a.any()


def test_the_gradient_of_the_six_affine_numbers_equals_finite_differences():
    student, teacher = models()
    _, adversary, batch = game(student, teacher, spread=0.3, min_agreement=0.0)
    bias = adversary.train.model.network[-1].bias
    (slope,) = torch.autograd.grad(asked(adversary, batch)[1], bias)
    step, found = 1e-6, torch.empty(6, dtype=torch.float64)
    for k in range(6):
        values = []
        for sign in (1, -2):
            bias.data[k] += sign * step
            values.append(asked(adversary, batch)[1].detach())
        bias.data[k] += step
        found[k] = (values[0] - values[1]) / (2 * step)
    assert found.abs().max() > 1e-3
    torch.testing.assert_close(slope, found, rtol=1e-3, atol=1e-6)


def test_an_identity_augmentor_doubles_plain_distillation():
    student, teacher = models()
    learner, _, batch = game(student, teacher, spread=0.0)
    found, loss = asked(learner, batch)
    torch.testing.assert_close(found["gap"], found["kd"])
    torch.testing.assert_close(
        loss, 2 * divergence(teacher(batch.input)["logits"], student(batch.input)["logits"]).mean()
    )
    runs = []
    for method, rate in ((HARD(spread=0.0, augmentor_rate=0.0), 0.05), (KD(temperature=TAU, alpha=1.0), 0.1)):
        s, t = models(torch.float32)
        keys = {"optimiser": Optimiser("sgd", rate, momentum=0.0)}
        Trainer(quiet=True).fit(method.recipe(s, t, images(), budget=budget(**keys)))
        runs.append(s.state_dict())
    for key, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][key], rtol=1e-3, atol=1e-5)


def test_without_the_disagreement_the_identity_is_a_minimum():
    student, teacher = models()
    _, adversary, batch = game(student, teacher, student_weight=0.0, spread=0.0)
    loss = asked(adversary, batch)[1]
    slopes = torch.autograd.grad(loss, list(adversary.parameters()))
    assert abs(loss) < 1e-12 and all(slope.abs().max() < 1e-9 for slope in slopes)
    _, moved, batch = game(student, teacher, student_weight=0.0, spread=0.3)
    assert asked(moved, batch)[1] > 1e-3


def test_a_student_that_is_the_teacher_cannot_be_driven_apart():
    _, teacher = models()
    _, adversary, batch = game(copy.deepcopy(teacher), teacher, teacher_weight=0.0, spread=0.3, min_agreement=0.0)
    loss = asked(adversary, batch)[1]
    slopes = torch.autograd.grad(loss, list(adversary.parameters()))
    assert abs(loss) < 1e-12 and all(slope.abs().max() < 1e-9 for slope in slopes)


@pytest.mark.parametrize("family", ["affine", "mix", "latent"])
def test_each_phase_moves_its_own_player_and_no_other(family):
    student, teacher = models(torch.float32)
    for rates, moves in (((0.0, 0.01), "augmentor"), ((0.01, 0.0), "student")):
        method = HARD(family=family, augmentor_rate=rates[1], vae_epochs=1, min_agreement=0.0)
        keys = {"optimiser": Optimiser("sgd", rates[0])}
        recipe = method.recipe(student, teacher, images(), budget=budget(**keys))
        augmentor = recipe.stages[-1].players[1].train.model
        fixed = {n: v.clone() for n, v in augmentor.state_dict().items() if not n.startswith("vae.")}
        before = [{n: v.clone() for n, v in student.state_dict().items()}, fixed]
        Trainer(quiet=True).fit(recipe)
        for name, model, old in zip(("student", "augmentor"), (student, augmentor), before, strict=True):
            same = all(torch.equal(model.state_dict()[key], value) for key, value in old.items())
            assert same == (name != moves)
    assert all(p.grad is None for p in teacher.parameters())


def test_options_of_the_disagreement_are_what_they_say():
    student, teacher = models()
    _, adversary, batch = game(student, teacher, spread=0.3, student_term="clean", min_agreement=0.0)
    new = adversary.train.model({"input": batch.input, "noise": batch.noise})["image"]
    torch.testing.assert_close(
        asked(adversary, batch)[0]["gap"], divergence(student(batch.input)["logits"], student(new)["logits"]).detach()
    )
    slopes = []
    for detach in (False, True):
        _, adversary, batch = game(student, teacher, spread=0.3, detach_teacher=detach, min_agreement=0.0)
        torch.manual_seed(0)
        batch = batch.merge(noise=torch.randn_like(batch.noise))
        slopes.append(torch.autograd.grad(asked(adversary, batch)[1], list(adversary.parameters()))[-1])
    assert not torch.allclose(*slopes)
    _, capped, batch = game(student, teacher, spread=0.3, cap=0.01, min_agreement=0.0)
    assert (asked(capped, batch)[0]["break"] >= -0.01).all()


def test_where_the_teacher_changes_its_mind_only_the_preserving_term_counts():
    student, teacher = models()
    teacher.classifier.weight.data *= 100.0
    _, adversary, batch = game(student, teacher, spread=3.0)
    found, _ = asked(adversary, batch)
    assert found["agreement"].mean() < 0.9 and not found["break"].any() and found["keep"].mean() > 0
    assert found["gap"].mean() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_give_finite_losses_and_gradients(dtype):
    student, teacher = models()
    learner, _, batch = game(student, teacher)
    far = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e4, 3e4, 3e4]], dtype=dtype)
    leaves = [far.clone().requires_grad_(), (-far).requires_grad_()]
    s, s_new = (Signals(logits=leaf) for leaf in leaves)
    found = learner.terms(batch, s, Signals(logits=-far), s_new, Signals(logits=far))
    slopes = torch.autograd.grad(sum(v.sum() for v in found.values()), leaves)
    assert all(torch.isfinite(v).all() for v in (*found.values(), *slopes))


@pytest.fixture(scope="module")
def bars():
    """A teacher that knows bars wherever they are and a student that has seen them in the middle only."""
    torch.manual_seed(0)
    data = images(n=60)
    kind_N = torch.arange(60) % C
    x = 0.1 * torch.rand(60, 1, 8, 8)
    x[kind_N == 0, :, 3:5, 1:7] += 1.0
    x[kind_N == 1, :, 1:7, 3:5] += 1.0
    x[kind_N == 2, :, 2:6, 2:6] += 0.7
    fields = {**data.train.fields, "input": x, "label": kind_N}
    data = type(data)(type(data.train)(fields), data.validation, data.test, data.classes, data.shape)
    teacher, student = large_cnn(), small_cnn()
    long = budget(epochs=60)
    Trainer(quiet=True).fit(Supervised(shift=2).recipe(teacher, None, data, budget=long))
    Trainer(quiet=True).fit(KD(TAU, 1.0).recipe(student, teacher, data, budget=long))
    return data, teacher.eval(), student


def test_an_augmentor_finds_what_the_student_does_not_know_and_the_teacher_does(bars):
    """The student fixed: disagreement is more than without learning, the teacher keeps its answers, noise matters."""
    data, teacher, student = bars
    keys = {"optimiser": Optimiser("sgd", 0.0)}

    def disagreement(seed, rate, epochs):
        fixed = copy.deepcopy(student)
        recipe = HARD(augmentor_rate=rate).recipe(fixed, teacher, data, seed=seed, budget=budget(epochs=epochs, **keys))
        Trainer(quiet=True, seed=seed).fit(recipe)
        augmentor = recipe.stages[0].players[1].train.model
        x = data.train.fields["input"]
        noise = torch.randn(len(x), 8, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            new = augmentor({"input": x, "noise": noise})["image"]
            t, t_new, s_new = (m.eval()(v)["logits"] for m, v in ((teacher, x), (teacher, new), (fixed, new)))
        agree = (t.argmax(1) == t_new.argmax(1)).float().mean()
        return divergence(t_new, s_new).mean(), agree, augmentor.maps(noise).std(0).detach().min()

    blind, _, _ = zip(*(disagreement(seed, 0.0, 1) for seed in (0, 1)), strict=True)
    found, agree, spread = zip(*(disagreement(seed, 0.01, 40) for seed in (0, 1)), strict=True)
    assert sum(found) > 2 * sum(blind) and min(agree) >= 0.9 and min(spread) > 0.005


def test_by_thresholds_the_two_take_turns_and_a_resume_knows_whose_it_is(bars):
    data, teacher, student = bars
    learner, adversary = HARD(switching="thresholds", low=0.5, high=0.9, patience=3).recipe(
        copy.deepcopy(student), teacher, data, budget=budget(epochs=10)
    ).stages[0].players  # fmt: skip
    turns = learner.weights.turns
    assert turns is adversary.weights.turns and learner.when() and not adversary.when()
    assert {"turns.turn", "turns.first", "turns.spent"} <= set(learner.weights.state_dict())
    stage = HARD(switching="thresholds", low=0.5, high=0.9, patience=3).recipe(
        copy.deepcopy(student), teacher, data, budget=budget(epochs=30)
    )
    told = []
    turns = stage.stages[0].players[0].weights.turns
    see = turns.see
    turns.see = lambda player, value: (told.append(player), see(player, value))
    Trainer(quiet=True).fit(stage)
    assert set(told) == {0, 1} and told[0] == 0 and len(told) == stage.stages[0].updates()


def test_hand_made_shifts_have_no_second_player():
    student, teacher = models(torch.float32)
    stage = HARD(family="shift", pixels=1).recipe(student, teacher, images(), budget=budget()).stages[0]
    assert [player.name for player in stage.players] == ["student"]
    batch = prepared(images().train.gather(np.arange(8), 0), stage.prepare)
    assert batch.augmented.shape == batch.input.shape and not torch.equal(batch.augmented, batch.input)


def test_affine_maps_start_near_the_identity():
    maps = Affine().maps(torch.randn(1000, 8))
    assert (maps - torch.eye(2, 3)).abs().max() < 0.5 and functional.mse_loss(maps.mean(0), torch.eye(2, 3)) < 0.01

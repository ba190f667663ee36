"""B-MTARD against its equations, and the adversarial training that makes its robust teacher."""

import numpy as np
import pytest
import torch
from rows import ATTACK, C, blobs, budget, large, small
from torch.nn import functional

from embodkd.core import Optimiser, Role, Signals, Trainer, class_mean_kl, kl
from embodkd.core.batch.pieces import prepared
from embodkd.methods.adversarial import Adversarial
from embodkd.methods.kd import KD
from embodkd.methods.mtard import MTARD
from embodkd.parts.images.attack import PGD

STILL = {"weight_rate": 0.0, "temperature_rate": 0.0}
SGD = Optimiser("sgd", 0.1, momentum=0.0)


def models(*makers, dtype=torch.float64):
    torch.manual_seed(0)
    return [make().to(dtype) for make in makers]


def whole(data=None, dtype=torch.float64):
    source = (data or blobs()).train
    batch = source.gather(np.arange(source.size()), 0)
    return batch.merge(input=batch.input.to(dtype))


def parts(method, student, teachers, **budget_keys):
    """(the player, the batch with its adversarial inputs) of the method's only stage."""
    stage = method.recipe(student, teachers, blobs(), budget=budget(**budget_keys)).stages[0]
    return stage.players[0], prepared(whole(), stage.prepare)


def asked(player, batch):
    s = player.train.signals(batch)
    return player.terms(batch, s, **{name: role.signals(batch) for name, role in player.given.items()})


def slow_loss(logits_NC, target_NC, temperature, offset):
    """Numpy, item by item: mean over classes of q [log(q + offset) - log p]."""
    rows = []
    for z, t in zip(logits_NC.detach().numpy(), target_NC.detach().numpy(), strict=True):
        p, q = (np.exp(v - v.max()) / np.exp(v - v.max()).sum() for v in (z, t / temperature))
        rows.append(np.mean(q * (np.log(q + offset) - np.log(p))))
    return torch.tensor(np.array(rows))


def test_terms_are_those_of_the_equations_and_each_teacher_sees_its_own_input():
    student, clean, robust = models(small, large, large)
    method = MTARD(**ATTACK, scale=2.0, temperature_bounds=(1.5, 10.0))
    player, batch = parts(method, student, {"clean": clean, "robust": robust})
    assert not torch.equal(batch.adversarial, batch.input)
    found = asked(player, batch)
    expected = {
        "robust": slow_loss(student(batch.adversarial)["logits"], robust(batch.adversarial)["logits"], 1.5, 1e-5),
        "clean": slow_loss(student(batch.input)["logits"], clean(batch.input)["logits"], 1.5, 1e-5),
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name], 2.0 * value)
    for name, teacher, x in (("robust", robust, batch.adversarial), ("clean", clean, batch.input)):
        q = (teacher(x)["logits"] / 1.5).softmax(1)
        torch.testing.assert_close(found[f"{name}_entropy"], -(q * q.log()).sum(1))


def test_no_teacher_gets_a_gradient_and_the_offset_gives_the_student_none():
    student, clean, robust = models(small, large, large)
    found = []
    for offset in (0.0, 1e-5, 1e-2):
        player, batch = parts(MTARD(**ATTACK, log_offset=offset), student, {"clean": clean, "robust": robust})
        torch.manual_seed(0)
        loss = asked(player, batch)["clean"].sum()
        found.append(torch.autograd.grad(loss, list(student.parameters())))
    for slopes in found[1:]:
        for a, b in zip(found[0], slopes, strict=True):
            torch.testing.assert_close(a, b)
    targets = torch.randn(4, C, requires_grad=True)
    assert torch.autograd.grad(class_mean_kl(torch.randn(4, C, requires_grad=True), targets, offset=1e-5).sum(),
                               targets, allow_unused=True) == (None,)  # fmt: skip


def test_without_attack_and_balance_two_equal_teachers_are_plain_distillation_over_classes():
    """Both halves are KL / C at temperature 1 on clean inputs, so scale = C gives KD with alpha = 1."""
    runs = []
    for method in (
        MTARD(**{**ATTACK, "epsilon": 0.0}, **STILL, scale=C, log_offset=0.0),
        KD(temperature=1.0, alpha=1.0),
    ):
        student, teacher = models(small, large, dtype=torch.float32)
        given = {"clean": teacher, "robust": teacher} if isinstance(method, MTARD) else teacher
        Trainer(quiet=True).fit(method.recipe(student, given, blobs(), budget=budget(optimiser=SGD)))
        runs.append(student.state_dict())
    for key, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][key], rtol=1e-4, atol=1e-6)


def test_updates_equal_plain_torch_weights_count_at_once_and_temperatures_in_the_next():
    student, clean, robust = models(small, large, large, dtype=torch.float32)
    twin = models(small, dtype=torch.float32)[0]
    twin.load_state_dict(student.state_dict())
    method = MTARD(**{**ATTACK, "epsilon": 0.0}, weight_rate=0.3, temperature_rate=0.25)
    data = blobs()
    keys = {"epochs": 3, "batch_size": data.train.size(), "optimiser": SGD}
    Trainer(quiet=True).fit(method.recipe(student, {"clean": clean, "robust": robust}, data, budget=budget(**keys)))
    x = whole(data, torch.float32).input
    tau, weight, first = {"robust": 1.0, "clean": 1.0}, {"robust": 0.5, "clean": 0.5}, None
    for _ in range(3):
        q = {k: (t(x)["logits"] / tau[k]).softmax(1).detach() for k, t in (("robust", robust), ("clean", clean))}
        z = twin(x)["logits"].log_softmax(1)
        losses = {k: (q[k] * ((q[k] + 1e-5).log() - z)).mean() for k in q}
        now = {k: float(v.detach()) for k, v in losses.items()}
        entropy = {k: float(-(q[k] * q[k].log()).sum(1).mean()) for k in q}
        sharper = min(entropy, key=entropy.get)
        for k in tau:
            tau[k] = min(10.0, max(1.0, tau[k] + (0.25 if k == sharper else -0.25)))
        first = first or now
        relative = {k: now[k] / first[k] for k in now}
        weight = {k: w - 0.3 * (w - relative[k] / sum(relative.values())) for k, w in weight.items()}
        loss = sum(weight[k] * losses[k] for k in losses)
        for p, slope in zip(twin.parameters(), torch.autograd.grad(loss, list(twin.parameters())), strict=True):
            p.data -= 0.1 * slope
    assert max(tau.values()) == 1.75 and weight["robust"] != 0.5
    for a, b in zip(student.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_give_finite_losses_entropies_and_gradients(dtype, released):
    student, clean, robust = models(small, large, large)
    player, batch = parts(MTARD(**ATTACK, released=released), student, {"clean": clean, "robust": robust})
    far = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e4, 3e4, 3e4]], dtype=dtype)
    s, natural = (Signals(logits=sign * far.clone().requires_grad_()) for sign in (1.0, -1.0))
    leaves = [s.logits, natural.logits]
    found = player.terms(batch, s, natural, Signals(logits=-far), Signals(logits=far))
    assert all(torch.isfinite(value).all() for value in found.values())
    weights = player.weights({name: value.detach().mean() for name, value in found.items()})
    slopes = torch.autograd.grad(sum((weights[k] * v).sum() for k, v in found.items()), leaves)
    assert all(torch.isfinite(slope).all() for slope in slopes)


def test_measures_are_robust_accuracy_and_the_mean_with_the_clean_one():
    student, data = models(small, dtype=torch.float32)[0], blobs()
    test = data.test.fields
    clean = 100.0 * float((student(test["input"])["logits"].argmax(1) == test["label"]).double().mean())
    calm = MTARD(**{**ATTACK, "epsilon": 0.0}).measures(student, None, data)
    assert calm == {"robust": pytest.approx(clean), "weighted": pytest.approx(clean)}
    found = MTARD(**{**ATTACK, "epsilon": 1.0}, judge_step_size=0.2).measures(student, None, data)
    assert found["robust"] < clean and found["weighted"] == pytest.approx((clean + found["robust"]) / 2)


@pytest.mark.parametrize("bounds", [{"value_range": (1.0, 0.0)}, {"temperature_bounds": (10.0, 1.0)}])
def test_bounds_upside_down_are_one_clear_error(bounds):
    with pytest.raises(ValueError, match=f"method.{next(iter(bounds))}: must rise"):
        MTARD(**bounds)


@pytest.mark.parametrize("given", [{"clean": large}, {"clean": large, "sturdy": large}, {"robust": large, "x": large}])
def test_teachers_of_other_names_are_one_clear_error(given):
    with pytest.raises(ValueError, match="needs the teachers clean and robust"):
        MTARD().recipe(small(), {name: make() for name, make in given.items()}, blobs(), budget=budget())


def test_adversarial_training_makes_a_network_more_robust():
    data, judge = blobs(n=90), MTARD(epsilon=0.8, judge_step_size=0.1, value_range=(-20.0, 20.0))
    attack = {"step_size": 0.2, "steps": 5, "value_range": (-20.0, 20.0)}
    found = []
    for epsilon in (0.0, 0.8):
        student = models(large, dtype=torch.float32)[0]
        method = Adversarial(epsilon=epsilon, **attack)
        Trainer(quiet=True).fit(method.recipe(student, None, data, budget=budget(epochs=25)))
        found.append(judge.measures(student, None, data)["robust"])
    assert found[1] > found[0] + 5


def test_trades_is_cross_entropy_and_its_divergence_with_gradient_through_both():
    student = models(small)[0]
    stage = Adversarial(**ATTACK, trades=6.0).recipe(student, None, blobs(), budget=budget()).stages[0]
    batch, (player,) = prepared(whole(), stage.prepare), stage.players
    value = sum(term.mean() for term in asked(player, batch).values())
    z, x = student(batch.input)["logits"], student(batch.adversarial)["logits"]
    expected = (
        functional.cross_entropy(z, batch.label)
        + 6.0 * (z.softmax(1) * (z.log_softmax(1) - x.log_softmax(1))).sum(1).mean()
    )
    torch.testing.assert_close(value, expected)
    own, slow = (torch.autograd.grad(v, list(student.parameters()), retain_graph=True) for v in (value, expected))
    for a, b in zip(own, slow, strict=True):
        torch.testing.assert_close(a, b)


def test_the_attack_of_trades_needs_no_labels_and_moves_the_answer():
    student = models(small)[0]
    stage = Adversarial(**ATTACK, trades=1.0).recipe(student, None, blobs(), budget=budget()).stages[0]
    unlabelled = Signals({name: value for name, value in whole().items() if name != "label"})
    adversarial = prepared(unlabelled, stage.prepare).adversarial
    answers = [Role(student, "frozen", view=view).signals(unlabelled.merge(adversarial=adversarial, near=near)).logits
               for view, near in (("adversarial", adversarial), ("near", whole().input + 0.001))]  # fmt: skip
    clean = student(whole().input)["logits"]
    assert kl(answers[0], clean).mean() > 10 * kl(answers[1], clean).mean()
    assert (adversarial - whole().input).abs().max() <= PGD(ATTACK["epsilon"]).epsilon + 1e-9

"""TGeo-KD's identities: fixed weights, the hypergradient and its sign, the state's symmetry, the stopped gradients."""

import numpy as np
import pytest
import torch
from rows import blobs, budget, large, small
from torch import nn
from toy import fingerprint

from embodkd.core import Context, Optimiser, Signals, Splits, Stage, TensorData, Trainer, cross_entropy, kl
from embodkd.core.engine.objective import objective
from embodkd.methods.tgeo_kd import STATES, TGeoKD, state

C = 3
CONTEXT = Context(None, 0, torch.device("cpu"))


class Slope(nn.Module):
    """A student with two parameters, logits (a x_0, b x_1, 0); `scale` of them makes a teacher."""

    reads = "input"
    classes = C

    def __init__(self, a, b):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([a, b], dtype=torch.float64))

    def forward(self, x_N2):
        return {"logits": torch.cat([x_N2 * self.gain, torch.zeros_like(x_N2[:, :1])], 1)}


def tiny(n=7):
    generator = torch.Generator().manual_seed(0)

    def part(size, first):
        x = torch.randn(size, 2, generator=generator, dtype=torch.float64)
        label = (torch.arange(size) + (x[:, 0] > 0)) % C
        return {"input": x, "label": label, "sample_id": first + torch.arange(size)}

    parts = [part(n, 0), part(11, 100), part(5, 200)]
    parts = [TensorData({**p, "input": p["input"].float()}) for p in parts]
    splits = Splits(*parts, classes=C, shape=(2,))
    # In double precision from here on: Splits asks for float32.
    for data in splits.parts().values():
        data._fields["input"] = data._fields["input"].double()
    return splits


def game(n=7, **options):
    """(outer player, inner player, controller, batch) of a recipe in float64 whose class means are filled."""
    data = tiny()
    student, teacher = Slope(0.7, -0.4), Slope(1.5, 2.0)
    method = TGeoKD(**{"unroll_rate": 0.3, "temperature": 2.0, "validation_batch": 11, **options})
    recipe = method.recipe(student, teacher, data, seed=1, budget=budget())
    stage = next(s for s in recipe.stages if isinstance(s, Stage))
    *outer, inner = stage.players
    for player in outer:
        player.train.model.double()
    recipe.stages[0](CONTEXT)
    return (outer[0] if outer else None), inner, student, data.train.gather(np.arange(n), 0)


def outer_loss(outer, batch):
    judged, s = outer.through.signals(batch, 0, 10)
    return objective(outer, judged, s, {}, 0, 10)[1] / judged.items_count


def test_a_fixed_alpha_is_cross_entropy_scaled_divergence_and_their_mixture():
    s, t = (torch.randn(5, C, dtype=torch.float64) for _ in range(2))
    label = torch.tensor([0, 1, 2, 1, 0])
    batch, given = Signals({"label": label}), {"t": Signals({"logits": t})}
    ce = -torch.log_softmax(s, 1)[torch.arange(5), label]
    log_t, log_s = torch.log_softmax(t / 1.5, 1), torch.log_softmax(s / 1.5, 1)
    scaled = 1.5**2 * (log_t.exp() * (log_t - log_s)).sum(1)
    for alpha in (0.0, 1.0, 0.3):
        recipe = TGeoKD(alpha=alpha).recipe(small(), large(), blobs(), budget=budget())
        player = recipe.stages[0].players[0]
        _, loss = objective(player, batch, Signals({"logits": s}), given, 0, 1)
        torch.testing.assert_close(loss, ((1 - alpha) * ce + alpha * scaled).sum())


def test_a_learned_alpha_weighs_item_by_item():
    """The objective equals the formula written out with the controller's own answers."""
    _, inner, student, batch = game()
    s = inner.train.signals(batch)
    given = {name: answerer.signals(batch) for name, answerer in inner.given.items()}
    alpha = inner.ready_weights()["kd"](batch, s, **given)
    assert alpha.shape == (7,) and alpha.min() > 0 and alpha.max() < 1 and alpha.std() > 0
    expected = alpha * kl(s.logits_NC, given["t"].logits_NC, temperature=2.0)
    expected = expected + (1 - alpha) * cross_entropy(s.logits_NC, batch.label_N)
    torch.testing.assert_close(objective(inner, batch, s, given, 0, 1)[1], expected.sum())


@pytest.mark.parametrize("kind", STATES)
def test_the_hypergradient_equals_finite_differences(kind):
    outer, _, _, batch = game(state=kind)
    parameters = list(outer.train.model.parameters())
    slopes = torch.cat([g.flatten() for g in torch.autograd.grad(outer_loss(outer, batch), parameters)])
    assert slopes.norm() > 1e-6
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
        ends = []
        for sign in (1e-5, -2e-5):
            with torch.no_grad():
                for p, d in zip(parameters, direction, strict=True):
                    p += sign * d
            ends.append(outer_loss(outer, batch).item())
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p += 1e-5 * d
        along = torch.cat([d.flatten() for d in direction])
        assert abs((ends[0] - ends[1]) / 2e-5 - slopes @ along) < 1e-4 * slopes.norm() * along.norm()


def test_without_the_weights_graph_no_gradient_reaches_the_controller():
    """What the authors' first script computes: alpha without gradient."""
    outer, inner, _, batch = game()
    weights = inner.ready_weights()
    for name, weight in weights.items():
        inner.weights[name] = lambda *a, weight=weight, **given: weight(*a, **given).detach()
    slopes = torch.autograd.grad(outer_loss(outer, batch), list(outer.train.model.parameters()), allow_unused=True)
    assert all(slope is None for slope in slopes)


@pytest.mark.parametrize("n", [1, 4])
def test_alpha_rises_iff_the_teachers_gradient_is_better_aligned_with_the_validation_gradient(n):
    """d outer / d alpha_n = -rate / N <grad J_val(theta'), grad(tau^2 KL_n - CE_n)>."""
    outer, inner, student, batch = game(n)
    seen = []
    controller = outer.train.model
    controller.register_forward_hook(lambda module, args, output: seen.append(output))
    judged, s = outer.through.signals(batch, 0, 10)
    loss = objective(outer, judged, s, {}, 0, 10)[1] / judged.items_count
    alpha_slopes = sum(torch.autograd.grad(loss, seen, retain_graph=True)).squeeze(1)

    values = {name: p for name, p in student.named_parameters()}
    alpha = seen[0].detach().squeeze(1)

    def gap_and_inner(k):
        z, t = student(batch["input"])["logits"], inner.given["t"].signals(batch).logits_NC
        soft, hard = kl(z, t, temperature=2.0), cross_entropy(z, batch.label_N)
        return (soft - hard)[k], (alpha * soft + (1 - alpha) * hard).mean()

    (slope,) = torch.autograd.grad(gap_and_inner(0)[1], list(values.values()))
    after = (student.gain - 0.3 * slope).detach().requires_grad_()
    x = judged["input"]
    logits = torch.cat([x * after, torch.zeros_like(x[:, :1])], 1)
    (validation,) = torch.autograd.grad(cross_entropy(logits, judged.label_N).mean(), after)
    for k in range(n):
        (gap,) = torch.autograd.grad(gap_and_inner(k)[0], list(values.values()))
        torch.testing.assert_close(alpha_slopes[k], -0.3 / n * (validation @ gap))


@pytest.mark.parametrize("kind", STATES)
def test_permuting_the_classes_permutes_the_state_within_its_blocks(kind):
    s, t, m = (torch.randn(6, C, dtype=torch.float64).softmax(1) for _ in range(3))
    label = torch.tensor([0, 1, 2, 0, 2, 1])
    order = torch.tensor([2, 0, 1])
    before = state(s, t, label, m, kind)
    after = state(s[:, order], t[:, order], order.argsort()[label], m[:, order], kind)
    if kind == "norms":
        torch.testing.assert_close(after, before)
    else:
        torch.testing.assert_close(after, before.reshape(6, -1, C)[:, :, order].flatten(1))


def test_the_full_state_is_the_nine_blocks_of_the_definition():
    s, t, m = (torch.randn(4, C, dtype=torch.float64).softmax(1) for _ in range(3))
    label = torch.tensor([0, 1, 2, 0])
    rows = state(s, t, label, m).numpy()
    for n in range(4):
        g = np.eye(C)[label[n]]
        a, b, c = s[n].numpy(), t[n].numpy(), m[n].numpy()
        blocks = [a, b, g, c, (c - a) ** 2, (g - a) ** 2, (a - b) ** 2, (b - g) ** 2, (c - g) ** 2]
        np.testing.assert_allclose(rows[n], np.concatenate(blocks))


def test_the_student_is_seen_without_gradient_and_the_teacher_and_its_means_get_none():
    outer, inner, student, batch = game()
    s = inner.train.signals(batch)
    given = {name: answerer.signals(batch) for name, answerer in inner.given.items()}
    alpha = inner.ready_weights()["kd"](batch, s, **given)
    assert torch.autograd.grad(alpha.sum(), student.gain, allow_unused=True, retain_graph=True) == (None,)
    assert not given["t"].logits.requires_grad and not given["mean"].probs.requires_grad
    joint = game(learning="joint")[1]
    joint.helpers["controller"].double()
    s = joint.train.signals(batch)
    alpha = joint.ready_weights()["kd"](batch, s, **given)
    assert torch.autograd.grad(alpha.sum(), joint.train.model.gain)[0].any()


def test_the_class_means_are_those_of_the_training_set_by_its_labels():
    _, inner, _, batch = game()
    probs = inner.given["t"].signals(batch).logits_NC.softmax(1)
    for n, row in enumerate(inner.given["mean"].signals(batch).probs_NC):
        torch.testing.assert_close(row, probs[batch.label_N == batch.label_N[n]].mean(0))


def trained(**options):
    torch.manual_seed(0)
    student, teacher = small(), large()
    recipe = TGeoKD(**options).recipe(student, teacher, blobs(), seed=1, budget=budget())
    stage = next(s for s in recipe.stages if isinstance(s, Stage))
    outer = stage.players[0]
    controller = outer.train.model if outer.name == "controller" else outer.helpers["controller"]
    before = fingerprint(controller)
    summary = Trainer(quiet=True).fit(recipe)
    return before != fingerprint(controller), summary.last


def test_the_controller_learns_unless_it_is_frozen_and_says_what_it_trusts():
    assert trained()[0] and trained(learning="joint")[0] and not trained(learning="frozen")[0]
    last = trained()[1]
    assert 0 < last["alpha_right"] < 1 and 0 < last["alpha_wrong"] < 1
    assert min(last["alpha_right"], last["alpha_wrong"]) < last["alpha"] < max(last["alpha_right"], last["alpha_wrong"])


def test_every_counts_the_students_steps_per_step_of_the_controller():
    recipe = TGeoKD(every=3).recipe(small(), large(), blobs(), budget=budget())
    outer, inner = recipe.stages[1].players
    assert (outer.every, inner.every) == (3, 1) and recipe.stages[1].in_turn
    assert outer.optimiser == Optimiser("adam", 3e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", STATES)
def test_extreme_logits_keep_the_state_finite(kind, dtype):
    s = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    method = TGeoKD(state=kind, learning="joint")
    recipe = method.recipe(small(), large(), blobs(), budget=budget())
    recipe.stages[0](CONTEXT)
    player = recipe.stages[1].players[0]
    batch = Signals({"label": torch.tensor([1, 0])})
    given = {"t": Signals({"logits": -s.detach()}), "mean": player.given["mean"].signals(batch)}
    _, loss = objective(player, batch, Signals({"logits": s}), given, 0, 1)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss) and torch.isfinite(s.grad).all()

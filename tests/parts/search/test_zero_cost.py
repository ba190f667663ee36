"""DisWOT's score: its maximum, its bounds, what it does not see, and that scoring leaves no trace."""

import pytest
import torch
from torch import nn

from embodkd.core import Signals, fresh_copy
from embodkd.models import make_model
from embodkd.parts.search.zero_cost import (
    ALONE,
    COMPARING,
    FLOOR,
    classifier_gradient,
    dead_share,
    diswot_score,
    gaussian_parameters,
    nwot,
    random_signals,
    relation_score,
    semantic_score,
    snip,
    synflow,
)

B, C, D = 7, 4, 5


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def maps(values):
    return Signals({"map": values})


def batch(n=12):
    return Signals({"input": draw(n, 1, 8, 8, seed=3).float(), "label": torch.arange(n) % C})


def net(*widths):
    torch.manual_seed(0)
    return make_model("cnn", (1, 8, 8), C, widths=widths)


def slow_semantic(a, b):
    total = 0.0
    for c in range(C):
        rows = []
        for w in (a[c], b[c]):
            outer = torch.outer(w, w)
            rows.append([row / max(float(row.norm()), FLOOR) for row in outer])
        total += sum(float((u - v).square().sum()) for u, v in zip(*rows, strict=True))
    return -total / (C * D)


def test_the_semantic_score_is_its_slow_formula():
    a, b = draw(C, D), draw(C, D, seed=1)
    a[1, 2] = 0.0
    assert semantic_score(a, b) == pytest.approx(slow_semantic(a, b), rel=1e-12)


def test_a_teacher_is_its_own_best_student():
    x, t = draw(B, 3, 2, 2), draw(B, 6, 2, 2, seed=1)
    w, v = draw(C, D), draw(C, D, seed=1)
    assert relation_score(maps(x), maps(x)) == 0.0 == semantic_score(w, w)
    assert relation_score(maps(x), maps(t)) < 0.0 and semantic_score(w, v) < 0.0


def test_relations_do_not_see_the_scale_nor_a_turn_of_the_features():
    x, t = draw(B, 6), draw(B, 9, seed=1)
    turn = torch.linalg.qr(draw(6, 6, seed=2)).Q
    value = relation_score(maps(x), maps(t))
    for other in (1e4 * x, 1e-4 * x, x @ turn):
        assert relation_score(maps(other), maps(t)) == pytest.approx(value, rel=1e-9)
    assert relation_score(maps(x), maps(1e4 * t)) == pytest.approx(value, rel=1e-9)


def test_semantics_do_not_see_the_scale_nor_the_sign_of_a_class():
    a, b = 1e-2 * draw(C, D), 1e-2 * draw(C, D, seed=1)
    value = semantic_score(a, b)
    flipped = a * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]
    for other in (0.1 * a, 10.0 * a, flipped):
        assert semantic_score(other, b) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_both_scores_keep_to_their_bounds(seed):
    x, t, w, v = draw(B, 2, seed=seed), draw(B, 2, seed=seed + 9), draw(C, D, seed=seed), draw(C, D, seed=seed + 9)
    assert -4 / B <= relation_score(maps(x), maps(t)) <= 0
    assert -4 <= semantic_score(w, v) <= 0
    assert -4 <= semantic_score(w, torch.zeros(C, D, dtype=torch.float64)) == pytest.approx(-1.0)


def test_rows_under_the_floor_stay_short_and_are_counted():
    a = draw(C, D)
    a[0], a[1, 3] = 1e-9, 0.0
    assert dead_share(a) == pytest.approx((D + 1) / (C * D))
    assert semantic_score(a, a) == 0.0
    assert torch.isfinite(torch.tensor(semantic_score(torch.zeros_like(a), a)))


def test_the_gradient_is_that_of_backpropagation():
    model, data = net(4, 8).double(), batch()
    s = model(data["input"].double())
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(s["logits"], data["label"]), model.classifier.weight)
    torch.testing.assert_close(classifier_gradient(Signals(s), data["label"]), expected, rtol=1e-10, atol=1e-12)


def test_random_parameters_are_normal_weights_zero_biases_and_unit_scales():
    drawn = gaussian_parameters(net(16, 64), 1, 2)
    weights = torch.cat([v.flatten() for v in drawn.values() if v.ndim > 1])
    assert abs(float(weights.mean())) < 0.03 and abs(float(weights.std()) - 1) < 0.03
    assert all((v == float(not name.endswith("bias"))).all() for name, v in drawn.items() if v.ndim == 1)
    again, other = gaussian_parameters(net(16, 64), 1, 2), gaussian_parameters(net(16, 64), 1, 3)
    assert all(torch.equal(again[n], v) for n, v in drawn.items())
    assert any(not torch.equal(other[n], v) for n, v in drawn.items())


def test_scoring_leaves_no_trace_and_the_order_of_candidates_does_not_matter():
    teacher, students, data = net(8, 8), [net(4, 8), net(2, 8), net(6, 8)], batch()
    before = [{n: v.clone() for n, v in m.state_dict().items()} for m in (teacher, *students)]
    for model in (teacher, *students):
        model.eval()
        model.zero_grad()

    def score(student):
        s, t = random_signals(student, data, 1), random_signals(teacher, data, 0)
        return diswot_score(s, t, data["label"])

    forward = [score(s) for s in students]
    backward = [score(s) for s in reversed(students)][::-1]
    assert forward == backward and len(set(forward)) == 3
    for model, state in zip((teacher, *students), before, strict=True):
        assert all(torch.equal(v, state[n]) for n, v in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters()) and not model.training


def test_the_parts_are_weighted_and_one_that_weighs_nothing_is_left_out():
    s, t = ({"map": draw(B, 6, seed=k), "logits": draw(B, C, seed=k), "embedding": draw(B, D, seed=k)} for k in (0, 1))
    label = torch.arange(B) % C
    r, _ = diswot_score(Signals(s), Signals(t), label, semantic=0.0)
    m, _ = diswot_score(Signals(s), Signals(t), label, relation=0.0)
    both, dead = diswot_score(Signals(s), Signals(t), label, relation=2.0, semantic=3.0)
    assert both == pytest.approx(2 * r + 3 * m) and dead == 0.0
    wide = Signals({**t, "embedding": draw(B, D + 1)})
    assert diswot_score(Signals(s), wide, label, semantic=0.0) == (r, 0.0)
    with pytest.raises(ValueError, match="leave this part out"):
        diswot_score(Signals(s), wide, label)


@pytest.mark.parametrize("name", COMPARING)
def test_losses_as_scores_are_best_for_the_teacher_itself(name):
    s, t = ({"map": draw(B, 6, 2, 2, seed=k), "embedding": draw(B, D, seed=k)} for k in (0, 1))
    score = COMPARING[name]
    assert score(Signals(s), Signals(s)) == pytest.approx(0.0, abs=1e-12)
    assert score(Signals(s), Signals(t)) < 0.0
    scaled = {"map": 3.0 * s["map"], "embedding": 3.0 * s["embedding"]}
    assert score(Signals(scaled), Signals(t)) == pytest.approx(score(Signals(s), Signals(t)))


@pytest.mark.parametrize("name", ALONE)
def test_scores_of_the_student_alone_depend_on_the_key_only_and_leave_no_trace(name):
    model, data, score = net(4, 8).eval(), batch(), ALONE[name]
    before = {n: v.clone() for n, v in model.state_dict().items()}
    value = score(model, data, 1, 2)
    assert value == score(model, data, 1, 2) != score(model, data, 1, 3)
    with torch.no_grad():
        model.classifier.weight.mul_(5.0)
    assert score(model, data, 1, 2) == value
    model.load_state_dict(before)
    assert all(p.grad is None for p in model.parameters()) and not model.training
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_nwot_is_the_determinant_of_agreeing_units():
    model, data = make_model("mlp", (1, 8, 8), C, hidden=(3, 5)), batch(4)
    made = fresh_copy(model, 7)
    first = made.layers[0](data["input"].flatten(1))
    codes = torch.cat([first > 0, made.layers[1](first) > 0], 1).tolist()
    agree = [[float(sum(a == b for a, b in zip(u, v, strict=True))) for v in codes] for u in codes]
    assert nwot(model, data, 7) == pytest.approx(float(torch.tensor(agree).double().det().abs().log()))
    with pytest.raises(ValueError, match="no ReLU"):
        nwot(nn.Sequential(nn.Flatten(), nn.Linear(64, C)), data, 0)


def test_snip_and_synflow_of_a_linear_network_are_their_closed_forms():
    model, data = make_model("mlp", (1, 8, 8), C, hidden=()), batch()
    made = fresh_copy(model, 3)
    x, weight = data["input"].flatten(1), made.classifier.weight.detach()
    error = made(data["input"])["logits"].detach().softmax(1) - nn.functional.one_hot(data["label"], C)
    assert snip(model, data, 3) == pytest.approx(float((weight * (error.T @ x / len(x))).abs().sum()), rel=1e-5)
    assert synflow(model, data, 3) == pytest.approx(float(weight.abs().double().sum().log()), rel=1e-6)

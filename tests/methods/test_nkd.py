"""NKD: the identities of its paper, and what its loss does not depend on."""

import dataclasses

import pytest
import torch
from rows import C as CLASSES
from rows import blobs, budget, large, small

from embodkd.core import (
    Role,
    Signals,
    Trainer,
    collect,
    cross_entropy,
    entropy,
    label_probability,
    nontarget_cross_entropy,
    soft_cross_entropy,
)
from embodkd.core.batch.pieces import prepared
from embodkd.methods.nkd import NKD
from embodkd.parts.images.mix import mixup

N, C = 9, 5


def total(method, s, t, label):
    """The weighted loss of every item, as the recipe puts it together."""
    (player,) = method.recipe(small(), large(), blobs(), budget=budget()).stages[0].players
    values = player.terms(Signals(label=label), Signals(logits=s), Signals(logits=t))
    weights = player.ready_weights()
    return sum(value * (weights[name].at(0) if name in weights else 1.0) for name, value in values.items())


def test_full_distillation_is_its_two_parts_and_the_term_that_it_drops(drawn):
    """CE(T, S) = -T_t log S_t - (1 - T_t) [sum T^ log S^ + log(1 - S_t)]."""
    s, t, label = drawn
    t_N, s_N = label_probability(t, label), label_probability(s, label)
    parts = t_N * cross_entropy(s, label) + (1 - t_N) * (nontarget_cross_entropy(s, t, label) - (1 - s_N).log())
    torch.testing.assert_close(soft_cross_entropy(s, t.softmax(1)), parts, rtol=1e-12, atol=1e-12)


def test_loss_is_the_papers_written_out(drawn):
    s, t, label = drawn
    expected = []
    for k in range(N):
        own = [c for c in range(C) if c != label[k]]
        p, q = t[k].softmax(0)[label[k]], s[k].softmax(0)[label[k]]
        rest_t, rest_s = ((z[k, own] / 3.0).exp() / (z[k, own] / 3.0).exp().sum() for z in (t, s))
        expected.append(-(1 + p) * q.log() - 3.5 * 9.0 * (rest_t * rest_s.log()).sum())
    found = total(NKD(gamma=3.5, temperature=3.0), s, t, label)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_the_nontarget_part_does_not_see_the_labels_logit(drawn):
    s, t, label = drawn
    shift = torch.zeros_like(s).scatter(1, label[:, None], torch.linspace(-30, 30, N, dtype=torch.float64)[:, None])
    still = nontarget_cross_entropy(s, t, label, temperature=2.0)
    torch.testing.assert_close(nontarget_cross_entropy(s + shift, t, label, temperature=2.0), still)
    torch.testing.assert_close(nontarget_cross_entropy(s, t - shift, label, temperature=2.0), still)


def test_the_nontarget_part_is_least_where_the_other_logits_agree_up_to_a_constant(drawn):
    s, t, label = drawn
    equal = (t + torch.arange(N, dtype=torch.float64)[:, None]).scatter(1, label[:, None], 7.0).requires_grad_()
    value = nontarget_cross_entropy(equal, t, label, temperature=2.0)
    (slope,) = torch.autograd.grad(value.sum(), equal)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)
    rest = torch.stack([row[torch.arange(C) != k] for row, k in zip(t, label, strict=True)])
    torch.testing.assert_close(value, 4.0 * entropy(rest, temperature=2.0))
    s.requires_grad_()
    other = nontarget_cross_entropy(s, t, label, temperature=2.0)
    (slope,) = torch.autograd.grad(other.sum(), s)
    assert (other > value).all() and (slope.abs().sum(1) > 1e-3).all()
    assert not slope.gather(1, label[:, None]).any()


def test_without_gamma_a_sure_teacher_doubles_the_cross_entropy(drawn):
    s, _, label = drawn
    sure = torch.full_like(s, -1e4).scatter(1, label[:, None], 1e4)
    torch.testing.assert_close(total(NKD(gamma=0.0), s, sure, label), 2.0 * cross_entropy(s, label))


def test_nothing_reaches_the_teacher(drawn):
    s, t, label = drawn
    value = total(NKD(), s.requires_grad_(), t.requires_grad_(), label).sum()
    assert torch.autograd.grad(value, t, allow_unused=True) == (None,)


def test_gradient_is_that_of_finite_differences(drawn):
    s, t, label = drawn
    assert torch.autograd.gradcheck(lambda z: total(NKD(temperature=2.0), z, t, label), s.requires_grad_())


def test_mixed_items_take_the_larger_label(drawn):
    s, t, label = drawn
    other = (label + 1) % C
    score = torch.zeros(N, C, dtype=torch.float64).scatter(1, label[:, None], 0.7).scatter(1, other[:, None], 0.3)
    (player,) = NKD().recipe(small(), large(), blobs(), budget=budget()).stages[0].players
    mixed = player.terms(Signals(label=other, score=score), Signals(logits=s), Signals(logits=t))
    hard = player.terms(Signals(label=label), Signals(logits=s), Signals(logits=t))
    assert torch.equal(mixed["target"], hard["target"]) and torch.equal(mixed["nontarget"], hard["nontarget"])
    torch.testing.assert_close(mixed["ce"], 0.7 * cross_entropy(s, label) + 0.3 * cross_entropy(s, other))


def test_mixup_mixes_inputs_and_labels_alike_and_gives_way_to_the_seed():
    batch = Signals({"input": torch.eye(CLASSES)[[0, 1, 2, 0]], "label": torch.tensor([0, 1, 2, 0])})
    torch.manual_seed(3)
    first = prepared(batch, [mixup(1.0, CLASSES)])
    assert torch.equal(first.input, first.score) and not torch.equal(first.input, batch.input)
    torch.testing.assert_close(first.score.sum(1), torch.ones(4))
    torch.manual_seed(3)
    assert torch.equal(prepared(batch, [mixup(1.0, CLASSES)]).input, first.input)
    with pytest.raises(ValueError, match="concentration"):
        mixup(0.0, CLASSES)


def test_training_on_mixed_items_learns():
    torch.manual_seed(0)
    student, data = small(), blobs()
    Trainer(quiet=True).fit(NKD(mixup=0.2).recipe(student, large(), data, budget=budget(20)))
    s = collect(Role(student, "frozen"), data.test)
    assert (s.logits_NC.argmax(1) == s.label_N).float().mean() > 0.8


def test_measure_is_the_divergence_among_the_other_classes():
    student, teacher, data = small(), large(), blobs()
    found = NKD().measures(student, teacher, data)["nontarget_kl"]
    x, label = data.test.fields["input"], data.test.fields["label"]
    rest = [
        z.detach()[torch.arange(CLASSES) != label[:, None]].reshape(-1, CLASSES - 1).double()
        for z in (student(x)["logits"], teacher(x)["logits"])
    ]
    q, p = (z.softmax(1) for z in rest)
    assert found == pytest.approx(float((p * (p / q).log()).sum(1).mean()), rel=1e-4)
    assert NKD().measures(teacher, teacher, data)["nontarget_kl"] == pytest.approx(0.0, abs=1e-6)


def test_hyper_parameters_are_those_of_the_paper():
    assert dataclasses.asdict(NKD()) == {"gamma": 1.5, "temperature": 1.0, "target": 1.0, "mixup": 0.0}

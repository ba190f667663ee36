"""DKD: what plain distillation is made of, and the warm-up of its weight."""

import pytest
import torch
from rows import blobs, budget, large, small

from embodkd.core import Signals, cross_entropy, decoupled_kl, kl
from embodkd.methods.dkd import DKD

N, C = 9, 5


def player_of(method):
    return method.recipe(small(), large(), blobs(), budget=budget()).stages[0].players[0]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_plain_distillation_is_the_two_parts_with_the_teachers_doubt_as_beta(drawn, temperature):
    s, t, label = drawn
    target, nontarget = (
        decoupled_kl(s, t, label, alpha=alpha, beta=1.0 - alpha, temperature=temperature) for alpha in (1.0, 0.0)
    )
    doubt_N = 1.0 - (t / temperature).softmax(1).gather(1, label[:, None]).squeeze(1)
    expected = kl(s, t, temperature=temperature)
    torch.testing.assert_close(target + doubt_N * nontarget, expected, rtol=1e-12, atol=1e-12)


def test_each_part_sees_its_own_half_of_the_logits(drawn):
    """The label's logit does not move the non-target part; a shuffle of the others does not move the target part."""
    s, t, label = drawn
    shifted = s.scatter_add(1, label[:, None], torch.full((N, 1), 3.0, dtype=torch.float64))
    for z in (s, shifted):
        part = decoupled_kl(z, t, label, alpha=0.0, beta=1.0)
        torch.testing.assert_close(part, decoupled_kl(s, t, label, alpha=0.0, beta=1.0))
    rolled = s.clone()
    for row, k in zip(rolled, label, strict=True):
        rest = torch.arange(C) != k
        row[rest] = row[rest].roll(1)
    torch.testing.assert_close(
        decoupled_kl(rolled, t, label, alpha=1.0, beta=0.0), decoupled_kl(s, t, label, alpha=1.0, beta=0.0)
    )
    assert not torch.allclose(shifted, s) and not torch.allclose(rolled, s)


def test_terms_are_the_papers_loss(drawn):
    s, t, label = drawn
    method = DKD(alpha=2.0, beta=3.0, temperature=5.0)
    values = player_of(method).terms(Signals(label=label), Signals(logits=s), Signals(logits=t))
    torch.testing.assert_close(values["ce"], cross_entropy(s, label))
    torch.testing.assert_close(values["dkd"], decoupled_kl(s, t, label, alpha=2.0, beta=3.0, temperature=5.0))


def test_the_weight_climbs_for_so_many_epochs_and_stays():
    """48 items in batches of 16: three updates per epoch."""
    weight = player_of(DKD(warmup_epochs=2)).ready_weights()["dkd"]
    assert [weight.at(k, 100) for k in (0, 2, 5, 6, 99)] == pytest.approx([1 / 6, 1 / 2, 1, 1, 1])
    assert player_of(DKD(warmup_epochs=0)).ready_weights()["dkd"].at(0, 100) == 1.0


def test_measures_are_the_two_divergences_at_temperature_one():
    student, teacher, data = small(), large(), blobs()
    found = DKD().measures(student, teacher, data)
    x, label = data.test.fields["input"], data.test.fields["label"]
    q, p = (model(x)["logits"].detach().double().softmax(1) for model in (student, teacher))
    p_N, q_N = (v.gather(1, label[:, None]).squeeze(1) for v in (p, q))
    target = p_N * (p_N / q_N).log() + (1 - p_N) * ((1 - p_N) / (1 - q_N)).log()
    full = (p * (p / q).log()).sum(1)
    assert found["target_kl"] == pytest.approx(float(target.mean()), rel=1e-4)
    assert found["nontarget_kl"] == pytest.approx(float(((full - target) / (1 - p_N)).mean()), rel=1e-4)

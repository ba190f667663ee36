"""BD-KD: who leans where, what its loss reduces to, and that two networks learn side by side without mixing."""

import copy

import numpy as np
import pytest
import torch
from rows import C, blobs, budget, large, small
from toy import fingerprint

from embodkd.core import Stage, Trainer, balanced_kl, cross_entropy, kl
from embodkd.core.terms.balanced import leaning
from embodkd.methods import get_method
from embodkd.models import make_model

BDKD = get_method("bd_kd")
N = 9


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    s, t = (torch.randn(N, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    # Every third target is nearly flat, every third student: both branches of the rule occur.
    t[::3] *= 0.1
    s[1::3] *= 0.1
    return s, t


def both(s, t, temperature=3.0):
    return kl(s, t, temperature=temperature), kl(s, t, temperature=temperature, reverse=True)


def train(recipe):
    Trainer(quiet=True, seed=2).fit(recipe)


def test_an_over_confident_student_is_spread_an_under_confident_one_sharpened():
    sure, flat = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[0.1, 0.0, 0.0]])
    assert leaning(sure, flat, delta=2.5) == (2.5, 1.0)
    assert leaning(flat, sure, delta=2.5) == (1.0, 2.5)
    assert leaning(sure, sure.roll(1, 1), delta=2.5) == (1.0, 2.5)
    assert leaning(sure, flat, delta=2.5, rule="flipped") == (1.0, 2.5)


def test_a_smooth_rule_lies_between_the_mean_and_the_switch():
    s, t = pair()
    switch, still, sharp = (leaning(s, t, sharpness=k) for k in (None, 0.0, 1e6))
    for k in range(2):
        torch.testing.assert_close(still[k], torch.full((N,), 1.5, dtype=torch.float64))
        torch.testing.assert_close(sharp[k], switch[k])
    soft_v, soft_u = leaning(s, t, sharpness=2.0)
    torch.testing.assert_close(soft_v + soft_u, torch.full((N,), 3.0, dtype=torch.float64))
    assert ((soft_v > 1.5) == (switch[0] == 2.0)).all()


def test_delta_one_is_the_symmetric_sum_whatever_the_entropies():
    s, t = pair()
    for options in ({}, {"rule": "flipped"}, {"sharpness": 3.0}):
        torch.testing.assert_close(balanced_kl(s, t, delta=1.0, **options), sum(both(s, t)))


def test_one_factor_alone_is_deep_mutual_learning_or_its_mirror():
    s, t = pair()
    forward, reverse = both(s, t)
    torch.testing.assert_close(balanced_kl(s, t, delta=1.0, reverse=0.0), forward)
    torch.testing.assert_close(balanced_kl(s, t, delta=1.0, forward=0.0), reverse)
    torch.testing.assert_close(balanced_kl(s, t, delta=1.0, scale_by_t2=False) * 9.0, forward + reverse)


def test_the_gradient_is_the_analytic_one_and_none_comes_through_the_weights():
    s, t = pair()
    v, u = (w[:, None] for w in leaning(s, t, temperature=1.0))
    assert len(v.unique()) == 2
    p, q = t.softmax(1), s.softmax(1)
    reverse = q * ((q / p).log() - kl(s, t, reverse=True)[:, None])
    (slope,) = torch.autograd.grad(balanced_kl(s.requires_grad_(), t, temperature=1.0).sum(), s)
    torch.testing.assert_close(slope, v * (q - p) + u * reverse, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("delta", [1.0, 2.0, 10.0])
def test_equal_networks_neither_lose_nor_move(delta):
    s, _ = pair()
    equal = s.clone().requires_grad_()
    value = balanced_kl(equal, s, delta=delta)
    (slope,) = torch.autograd.grad(value.sum(), equal)
    assert value.abs().max() < 1e-12 and slope.abs().max() < 1e-12


def test_impossible_weights_are_an_error():
    with pytest.raises(ValueError, match="delta must be at least 1"):
        leaning(*pair(), delta=0.5)


def test_both_look_at_each_other_before_either_moves_and_gradients_stay_apart():
    """One update of each network equals plain torch on the outputs before the update."""
    student, teacher = small(), large()
    twins = copy.deepcopy(student), copy.deepcopy(teacher)
    data = blobs()
    train(BDKD(fresh=False).recipe(student, teacher, data, budget=budget(1, batch_size=48)))
    batch = data.train.gather(np.arange(48), 0)
    zs, zt = (twin.train()(batch.input)["logits"] for twin in twins)
    losses = (
        cross_entropy(zs, batch.label) + balanced_kl(zs, zt.detach()),
        cross_entropy(zt, batch.label) + kl(zt, zs.detach(), temperature=3.0),
    )
    for model, twin, loss in zip((student, teacher), twins, losses, strict=True):
        optimiser = torch.optim.Adam(twin.parameters(), 0.01)
        loss.mean().backward()
        optimiser.step()
        for moved, expected in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-6)


def test_without_its_divergences_it_is_independent_trainings_bit_for_bit():
    student, teacher = small(), large()
    twins = copy.deepcopy(student), copy.deepcopy(teacher)
    method = BDKD(forward=0.0, reverse=0.0, teacher_kl=0.0, fresh=False)
    train(method.recipe(student, teacher, blobs(), budget=budget()))
    for twin in twins:
        train(get_method("supervised")().recipe(twin, None, blobs(), budget=budget()))
    assert fingerprint(student) == fingerprint(twins[0]) and fingerprint(teacher) == fingerprint(twins[1])


def test_a_fresh_teacher_learns_and_the_given_one_stays():
    given = large()
    before = fingerprint(given)
    recipe = BDKD().recipe(small(), given, blobs(), seed=1, budget=budget())
    online = recipe.stages[0].players[1].train.model
    first = fingerprint(online)
    train(recipe)
    assert fingerprint(given) == before != first and fingerprint(online) != first
    again = BDKD().recipe(small(), given, blobs(), seed=1, budget=budget()).stages[0].players[1].train.model
    assert fingerprint(again) == first


def several(**options):
    networks = {"middle": make_model("mlp", (6,), C, hidden=(12, 12)), "top": large()}
    recipe = BDKD(**options).recipe(small(), networks, blobs(), budget=budget())
    assert isinstance(recipe.stages[0], Stage)
    return recipe


def test_each_network_learns_from_all_larger_ones_and_the_largest_from_all_smaller():
    recipe = several()
    players = {player.name: player for player in recipe.stages[0].players}
    batch = blobs().train.gather(np.arange(16), 0)
    z = {name: player.train.signals(batch).logits.detach() for name, player in players.items()}
    ce = {name: cross_entropy(logits, batch.label) for name, logits in z.items()}
    expected = {
        "student": {
            "ce": ce["student"],
            "balanced": sum(balanced_kl(z["student"], z[k]) for k in ("middle", "top")) / 2,
        },
        "middle": {"ce": ce["middle"], "balanced": balanced_kl(z["middle"], z["top"])},
        "top": {
            "ce": ce["top"],
            "kl": sum(kl(z["top"], z[k], temperature=3.0) for k in ("student", "middle")) / 2,
        },
    }
    assert list(players) == ["student", "middle", "top"]
    for name, player in players.items():
        given = {key: role.signals(batch) for key, role in player.given.items()}
        found = player.terms(batch, player.train.signals(batch), **given)
        torch.testing.assert_close({k: v.detach() for k, v in found.items()}, expected[name])


def test_several_networks_all_learn():
    recipe = several()
    models = [player.train.model for player in recipe.stages[0].players]
    before = [fingerprint(model) for model in models]
    train(recipe)
    assert recipe.product is models[0] and all(fingerprint(m) != b for m, b in zip(models, before, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_keep_both_losses_finite(dtype):
    s, t = ((z * 1e4).to(dtype) for z in pair())
    s[0] = 0
    for own, other in ((s, t), (t, s)):
        own = own.detach().clone().requires_grad_()
        loss = balanced_kl(own, other, sharpness=5.0) + balanced_kl(own, other) + kl(own, other, temperature=3.0)
        loss.sum().backward()
        assert torch.isfinite(loss).all() and torch.isfinite(own.grad).all()

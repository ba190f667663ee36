"""An attack stays in its box, climbs, finds the known optimum of a linear model, and leaves the model alone."""

import pytest
import torch
from torch import nn

from embodkd.core import Player, Role, TensorData, Trainer, cross_entropy, fit
from embodkd.parts.images.attack import PGD, against, robust_accuracy

N, D, C = 40, 6, 3


class Network(nn.Module):
    reads = "input"

    def __init__(self, linear=False):
        super().__init__()
        torch.manual_seed(0)
        wide = nn.Sequential(nn.Linear(D, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, C))
        self.layers = nn.Linear(D, 2) if linear else wide

    def forward(self, x):
        return {"logits": self.layers(x)}


def data(classes=C):
    x = torch.rand(N, D, generator=torch.Generator().manual_seed(1))
    return TensorData({"input": x, "label": torch.arange(N) % classes})


def batch(classes=C):
    return data(classes).gather(torch.arange(N).numpy(), 0)


@pytest.mark.parametrize("start", ["normal", "uniform", "clean"])
def test_adversarial_inputs_stay_in_the_ball_and_in_range_and_raise_the_loss(start):
    model, clean = Network().eval(), batch()
    attack = PGD(0.1, 0.03, 10, start=start, low=0.0, high=1.0)
    x = attack(Role(model, "passthrough"), clean)
    assert (x - clean.input).abs().max() <= 0.1 + 1e-7 and x.min() >= 0 and x.max() <= 1 and not x.requires_grad
    before, after = (cross_entropy(model(v)["logits"], clean.label) for v in (clean.input, x))
    assert after.mean() > before.mean() + 0.02


def test_a_linear_model_is_fooled_the_known_way():
    """Two classes: the loss rises along sign(w_other - w_label), whose end is a corner of the box."""
    model, clean = Network(linear=True).eval(), batch(2)
    x = PGD(0.05, 0.02, 6, start="uniform")(Role(model, "passthrough"), clean)
    w = model.layers.weight.detach()
    direction = (w[1 - clean.label] - w[clean.label]).sign()
    torch.testing.assert_close(x, (clean.input + 0.05 * direction).clamp(0, 1))


def test_robust_accuracy_of_a_linear_model_is_its_margin_over_the_l1_norm():
    model, clean = Network(linear=True).eval(), batch(2)
    w, logits = model.layers.weight.detach(), model(clean.input)["logits"].detach()
    rows = torch.arange(N)
    margin = logits[rows, clean.label] - logits[rows, 1 - clean.label]
    cost = (w[1 - clean.label] - w[clean.label]).abs().sum(1)
    attack = PGD(0.02, 0.01, 5, low=-9.0, high=9.0)
    expected = 100.0 * (margin > 0.02 * cost).double().mean().item()
    assert robust_accuracy(model, data(2), attack, batch_size=7) == pytest.approx(expected)
    plain = PGD(0.0, 0.01, 1)
    assert robust_accuracy(model, data(2), plain) == pytest.approx(100.0 * (margin > 0).double().mean().item())


def test_one_whole_step_from_the_clean_input_is_fgsm():
    model, clean = Network().eval(), batch()
    x = clean.input.clone().requires_grad_()
    (slope,) = torch.autograd.grad(cross_entropy(model(x)["logits"], clean.label).sum(), x)
    found = PGD(0.1, 0.1, 1, start="clean")(Role(model, "passthrough"), clean)
    torch.testing.assert_close(found, (x.detach() + 0.1 * slope.sign()).clamp(0, 1))


def test_the_model_its_statistics_and_its_gradients_are_left_alone():
    model, clean = Network(), batch()
    cross_entropy(model(clean.input)["logits"], clean.label).sum().backward()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    slopes = [p.grad.clone() for p in model.parameters()]
    PGD(0.1, 0.03, 3)(Role(model, "passthrough"), clean)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert all(torch.equal(a, p.grad) for a, p in zip(slopes, model.parameters(), strict=True))


def test_a_ball_of_no_size_gives_the_clean_input_whatever_the_start():
    clean = batch()
    assert torch.equal(PGD(0.0, 0.03, 1)(Role(Network(), "passthrough"), clean), clean.input)


def test_the_start_is_a_function_of_its_generator():
    role, clean, attack = Role(Network(), "passthrough"), batch(), PGD(0.1, 0.0, 1, start="uniform")
    draws = [attack(role, clean, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_all_roles_of_a_stage_see_the_same_adversarial_inputs_made_from_the_present_weights():
    model, seen = Network(), []

    def terms(batch, s, twin):
        seen.append(batch.adversarial)
        assert model.training and torch.equal(twin.logits, s.logits)
        return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

    player = Player(Role(model, view="adversarial"), terms, given={"twin": Role(model, view="adversarial")})
    attack = PGD(0.1, 0.03, 3, start="clean")
    Trainer(quiet=True).fit(fit(player, data(), batch_size=N, epochs=2, prepare=(against(attack, model),)))
    shift = [x - batch().input for x in seen]
    assert not torch.allclose(shift[0].norm(), shift[1].norm())


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"epsilon": -1.0}, {"low": 1.0}, {"start": "cold"}])
def test_impossible_attacks_are_refused(wrong):
    with pytest.raises(ValueError, match="attack"):
        PGD(**wrong)


def test_inputs_outside_the_range_are_an_error_not_clipped():
    model, outside = Network(), batch().merge(input=3.0 * batch().input)
    with pytest.raises(ValueError, match="normalise inside the model"):
        PGD()(Role(model, "passthrough"), outside)

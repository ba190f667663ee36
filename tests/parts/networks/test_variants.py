"""Variants of a network, and a module that becomes one of them."""

import pytest
import torch
from torch import nn

from embodkd.models import make_model
from embodkd.parts.networks.variants import Chosen, parameter_count, variant


def template():
    torch.manual_seed(0)
    return make_model("mlp", (6,), 3, hidden=(4, 8))


def of(choice):
    return variant(template(), "here", 1, *choice, hidden=choice)


def test_a_variant_shares_what_fits_and_draws_the_rest_from_the_key():
    model = template()
    made = variant(model, "here", 1, hidden=(5, 8))
    assert made.arguments == {**model.arguments, "hidden": (5, 8)}
    assert torch.equal(made.classifier.weight, model.classifier.weight)
    assert made.layers[0][0].weight.shape == (5, 6)
    again, other = (variant(model, "here", key, hidden=(5, 8)) for key in (1, 2))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))
    assert not torch.equal(made.layers[0][0].weight, other.layers[0][0].weight)
    same = variant(model, "here", 1)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), model.parameters(), strict=True))
    assert parameter_count(made) == sum((5 * 6 + 5, 8 * 5 + 8, 3 * 8 + 3))


def test_wrong_arguments_and_models_that_do_not_know_theirs_are_refused():
    with pytest.raises(ValueError, match="here.*hidden"):
        variant(template(), "here", hiden=(4,))
    with pytest.raises(ValueError, match="use make_model"):
        variant(nn.Linear(2, 2), "here")


def test_the_choice_travels_with_the_weights():
    chosen = Chosen(of, 2, template())
    assert set(chosen.state_dict()) == {"choice"} and not list(chosen.parameters())
    chosen.choose((5, 7))
    with torch.no_grad():
        chosen.net.classifier.bias.fill_(2.0)
    other = Chosen(of, 2, template())
    other.load_state_dict(chosen.state_dict())
    x = torch.randn(3, 6)
    assert torch.equal(other(x)["logits"], chosen(x)["logits"]) and other.reads == "input"
    undecided = Chosen(of, 2, template())
    undecided.load_state_dict(Chosen(of, 2, template()).state_dict())
    assert not list(undecided.parameters())

"""Each part of a role does what it says: who learns, who is fixed, where gradient flows, what follows what."""

import pytest
import torch
from torch import nn
from toy import fingerprint

from embodkd.core import Role, Signals


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))


def batch():
    return Signals({"input": torch.randn(8, 3, generator=torch.Generator().manual_seed(1))})


def test_frozen_gives_no_gradient_and_never_changes():
    model = network()
    before, role = fingerprint(model), Role(model, "frozen")
    first = role.signals(batch()).logits_NC
    assert not first.requires_grad and torch.equal(first, role.signals(batch()).logits_NC)
    assert fingerprint(model) == before and role.parameters() == []


def test_passthrough_lets_gradient_through_to_its_input():
    model, x = network(), torch.randn(8, 3, requires_grad=True)
    role = Role(model, "passthrough")
    role.signals(Signals({"input": x})).logits_NC.sum().backward()
    assert x.grad.any() and role.parameters() == []


def test_train_is_in_training_mode_unless_told_otherwise():
    model = network()
    first, second = (Role(model).signals(batch()).logits_NC for _ in range(2))
    assert not torch.equal(first, second) and len(Role(model).parameters()) == 6
    first, second = (Role(model, mode="eval").signals(batch()).logits_NC for _ in range(2))
    assert torch.equal(first, second)


def test_ema_follows_exactly_and_copies_buffers():
    student, average = network(), network()
    role = Role(average, "ema", follow=student, decay=0.9)
    expected = average[0].weight.detach() * 0.9 + 0.1 * 5.0
    with torch.no_grad():
        student[0].weight.fill_(5.0)
        student[1].running_mean.fill_(7.0)
    role.follow_step()
    torch.testing.assert_close(average[0].weight.detach(), expected)
    assert (average[1].running_mean == 7.0).all() and not role.signals(batch()).logits_NC.requires_grad


def test_temperature_divides_logits_only():
    model = network()
    warm = Role(model, "frozen", temperature=4.0).signals(batch())
    torch.testing.assert_close(warm.logits_NC * 4, Role(model, "frozen").signals(batch()).logits_NC)
    hidden = Role(model, "frozen", temperature=4.0, output="action").signals(batch()).action_NA
    torch.testing.assert_close(hidden, Role(model, "frozen").signals(batch()).logits_NC)


def test_taps_become_signals():
    s = Role(network(), "frozen", taps={"feature": "0"}).signals(batch())
    assert s.feature_ND.shape == (8, 4) and not s.feature_ND.requires_grad


def test_a_model_that_reads_groups_gets_those_and_nothing_else():
    class Policy(nn.Module):
        reads = ("a", "b")

        def forward(self, obs):
            assert set(obs) == {"a", "b"}
            return obs["a"] + obs["b"]

    s = Role(Policy(), "frozen", output="action").signals(Signals({n: torch.ones(2, 1) for n in "abc"}))
    assert s.action_NA.tolist() == [[2.0], [2.0]]


def test_a_mapping_of_outputs_keeps_its_names():
    class Two(nn.Module):
        def forward(self, x):
            return {"logits": x, "value": x[:, 0]}

    assert set(Role(Two(), "frozen").signals(batch())) == {"logits", "value"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"part": "frosen"}, "not one of train, frozen"),
        ({"temperature": 0.0}, "must be positive"),
        ({"part": "ema"}, "needs follow"),
        ({"follow": nn.Linear(1, 1)}, "only an"),
        ({"part": "ema", "follow": nn.Linear(1, 1), "decay": 1.5}, "decay"),
        ({"taps": {"h": "00"}}, "no submodule '00'"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Role(network(), **arguments)

"""A low-rank adapter: nothing at first, low rank afterwards, gone when merged; the plain model's names throughout."""

import pytest
import torch
from torch import nn

from embodkd.core import adapt, merge
from embodkd.core.modules.adapter import Adapted

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 3))


def adapted(**more):
    model = network()
    return model, adapt(model, ["^0$", "^2$"], 2, probe=lambda m: m(X), **more)


def trained():
    model, names = adapted(alpha=3.0)
    optimiser = torch.optim.SGD([model.get_parameter(n) for n in names], lr=0.5)
    for _ in range(5):
        optimiser.zero_grad()
        model(X).square().sum().backward()
        optimiser.step()
    return model


def test_added_it_changes_no_bit_and_only_it_learns():
    model, names = adapted()
    assert torch.equal(model(X), network()(X))
    assert names == ["0.down", "0.up", "2.down", "2.up"]
    assert [n for n, p in model.named_parameters() if p.requires_grad] == names
    assert [n for n, p in adapted(freeze=False)[0].named_parameters() if not p.requires_grad] == []


def test_what_it_adds_has_its_rank_and_its_scale():
    model, plain = trained(), network()
    moved = model[0](X) - plain[0](X)
    assert torch.linalg.matrix_rank(moved, rtol=1e-5) == 2
    torch.testing.assert_close(moved, 1.5 * X @ model[0].down.T @ model[0].up.T)
    assert torch.equal(model[0].weight, plain[0].weight)


def test_merged_it_is_a_plain_network_with_the_same_answer():
    model = trained()
    before = model(X)
    assert merge(model, probe=lambda m: m(X)) is model
    torch.testing.assert_close(model(X), before, atol=1e-6, rtol=1e-6)
    assert not any(isinstance(m, Adapted) for m in model.modules())
    network().load_state_dict(model.state_dict())
    assert list(model.state_dict()) == list(network().state_dict())


def test_states_of_the_plain_network_load_below_it_and_its_own_state_goes_round():
    model, plain = trained(), network()
    missing = model.load_state_dict(plain.state_dict(), strict=False)
    assert missing.missing_keys == ["0.down", "0.up", "2.down", "2.up"] and not missing.unexpected_keys
    fresh = adapted(seed=9, alpha=3.0)[0]
    assert not torch.equal(fresh[0].down, model[0].down)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(X), model(X))


def test_a_second_adapter_goes_beside_the_first_and_mistakes_are_named():
    model = trained()
    assert adapt(model, ["^0$", "^4$"], 1) == ["4.down", "4.up"]
    with pytest.raises(ValueError, match="rank of at least 1, got 0"):
        adapt(network(), "0", 0)
    with pytest.raises(ValueError, match="no submodule to change has a name like '7'"):
        adapt(network(), "7", 1)


def test_a_merge_that_moves_the_answer_is_refused_with_numbers():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = network(), 0

        def forward(self, x):
            self.calls += 1
            return self.layer(x) + self.calls

    model = Moody()
    with pytest.raises(AssertionError, match=r"adapt: the answer moved by 1, more than 0"):
        adapt(model, "layer.0", 1, probe=lambda m: m(X))

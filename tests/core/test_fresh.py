"""Untrained copies: new weights from the key alone, statistics reset, the original untouched."""

import pytest
import torch
from torch import nn
from toy import fingerprint

from embodkd.core import fresh_copy


def network():
    made = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    made(torch.randn(16, 4))
    return made.requires_grad_(False)


def test_a_fresh_copy_depends_on_the_key_alone_and_leaves_the_original():
    model = network()
    before = fingerprint(model)
    state = torch.get_rng_state()
    first = fresh_copy(model, 3, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert fingerprint(first) == fingerprint(fresh_copy(network(), 3, 0))
    assert fingerprint(first) != fingerprint(fresh_copy(model, 3, 1))
    assert fingerprint(model) == before != fingerprint(first)


def test_everything_in_it_starts_anew_and_learns():
    model = network()
    copied = fresh_copy(model, 0)
    assert all(p.requires_grad for p in copied.parameters())
    assert not copied[1].running_mean.any() and model[1].running_mean.any()
    for old, new in zip(model.parameters(), copied.parameters(), strict=True):
        assert old.data_ptr() != new.data_ptr()
    assert not torch.equal(model[0].weight, copied[0].weight) and not torch.equal(model[3].bias, copied[3].bias)


def test_weights_that_cannot_be_reset_are_an_error():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(3))

    with pytest.raises(ValueError, match=r"0 \(Token\) has weights but no reset_parameters"):
        fresh_copy(nn.Sequential(Token()), 0)

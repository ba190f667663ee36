"""A restarted model is the one that the recipe was written for; weights drawn with a key depend on it alone."""

import copy

import torch
from torch import nn
from toy import fingerprint

from embodkd.core import Context, Restart, seeded

CONTEXT = Context(None, 0, torch.device("cpu"))


def test_a_restart_gives_back_weights_and_buffers_without_becoming_them():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    first, step = copy.deepcopy(model), Restart(model)
    for _ in range(2):
        model(torch.randn(8, 3)).sum().backward()
        with torch.no_grad():
            model[0].weight += 1.0
        assert fingerprint(model) != fingerprint(first)
        step(CONTEXT)
        assert fingerprint(model) == fingerprint(first)


def test_weights_drawn_with_a_key_are_the_same_whatever_was_drawn_before_and_leave_no_trace():
    def draw(*key):
        with seeded(*key):
            return torch.randn(4)

    torch.manual_seed(0)
    first, expected = draw(3, 1), torch.randn(4)
    torch.manual_seed(0)
    assert torch.equal(torch.randn(4), expected)
    assert torch.equal(draw(3, 1), first) and not torch.equal(draw(3, 2), first) and not torch.equal(draw(1, 3), first)
    assert torch.equal(draw(-1), draw(-1))

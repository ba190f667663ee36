"""A random stream that is borrowed is given back, and no other one is touched."""

import pytest
import torch

from embodkd.core.rng import seeded


def test_inside_the_stream_is_the_keys_and_outside_it_goes_on():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded(1, -2):
        first = torch.rand(2)
    assert torch.equal(torch.rand(2), expected) and not torch.equal(first, expected)
    with seeded(1, -2):
        assert torch.equal(torch.rand(2), first)
    with seeded(1, -3):
        assert not torch.equal(torch.rand(2), first)


def test_generators_of_accelerators_are_left_alone(monkeypatch):
    for device in (torch.cuda, torch.mps, torch.xpu):
        monkeypatch.setattr(device, "manual_seed_all" if device is not torch.mps else "manual_seed", pytest.fail)
    with seeded(1):
        torch.rand(1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cards_stream_goes_on():
    torch.cuda.manual_seed_all(5)
    expected = torch.rand(3, device="cuda")
    torch.cuda.manual_seed_all(5)
    with seeded(1):
        torch.rand(1)
    assert torch.equal(torch.rand(3, device="cuda"), expected)

"""Running statistics: exact, independent of how the data came, never changed by a forward pass."""

import numpy as np
import pytest
import torch
from embodkd.policies import RunningNormaliser
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(1, 199), max_size=6), offset=st.floats(-1e4, 1e4), seed=st.integers(0, 99))
def test_statistics_do_not_depend_on_how_the_data_is_cut(cuts, offset, seed):
    data = np.random.default_rng(seed).normal(offset, 2.0, (200, 3)).astype(np.float32)
    normaliser = RunningNormaliser(3)
    for part in np.split(data, sorted(set(cuts))):
        normaliser.update(torch.from_numpy(part))
    exact = data.astype(np.float64)
    np.testing.assert_allclose(normaliser.mean, exact.mean(0), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(normaliser.squares / normaliser.count, exact.var(0), rtol=1e-8)


def test_output_is_standardised_and_clipped():
    data = torch.randn(1000, 2) * torch.tensor([3.0, 0.1]) + torch.tensor([10.0, -2.0])
    normaliser = RunningNormaliser(2, clip=4.0)
    normaliser.update(data)
    out = normaliser(data)
    assert out.mean(0).abs().max() < 1e-3
    assert (out.std(0) - 1).abs().max() < 1e-2
    assert normaliser(torch.full((1, 2), 1e6)).max() == 4.0


def test_a_constant_input_stays_finite():
    normaliser = RunningNormaliser(1)
    normaliser.update(torch.full((10, 1), 3.0))
    assert torch.equal(normaliser(torch.tensor([[3.0]])), torch.zeros(1, 1))


def test_forward_changes_nothing_and_a_frozen_one_ignores_updates():
    normaliser = RunningNormaliser(2)
    normaliser.update(torch.randn(50, 2))
    before = {n: v.clone() for n, v in normaliser.state_dict().items()}
    normaliser.train()(torch.randn(8, 2))
    normaliser.freeze().update(torch.randn(50, 2) + 5)
    assert all(torch.equal(v, before[n]) for n, v in normaliser.state_dict().items())


def test_loading_restores_what_forward_uses():
    one, other = RunningNormaliser(2), RunningNormaliser(2)
    one.update(torch.randn(50, 2) * 3 + 1)
    other.load_state_dict(one.state_dict())
    x = torch.randn(4, 2)
    assert torch.equal(one(x), other(x))


def test_bad_rows_are_refused_and_change_nothing():
    normaliser = RunningNormaliser(2)
    normaliser.update(torch.randn(5, 2))
    before = normaliser.mean.clone()
    with pytest.raises(ValueError, match="not finite"):
        normaliser.update(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match="2 numbers per row"):
        normaliser.update(torch.randn(5, 3))
    assert torch.equal(normaliser.mean, before)

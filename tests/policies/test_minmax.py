"""Scaling by range: the card's numbers, exact inverses, ranges that only grow, errors that change nothing."""

import numpy as np
import pytest
import torch
from embodkd.policies import MinMaxNormaliser
from hypothesis import given, settings
from hypothesis import strategies as st


def fitted(rows, **options):
    normaliser = MinMaxNormaliser(len(rows[0]), **options)
    normaliser.fit(torch.tensor(rows))
    return normaliser


def test_the_published_numbers():
    normaliser = fitted([[-1.0, 2.0], [3.0, 2.0]])
    assert normaliser.normalise(torch.tensor([0.0, 2.0])).tolist() == [-0.5, 0.0]
    assert normaliser.normalise(torch.tensor([[-1.0, 1.0], [3.0, 3.0]])).tolist() == [[-1.0, -1.0], [1.0, 1.0]]


def test_the_simulators_noise_does_not_count_as_movement():
    normaliser = fitted([[0.5], [0.5 + 1e-6]])
    assert normaliser(torch.tensor([[0.5], [0.5 + 1e-6]])).abs().max() < 1e-5


@settings(max_examples=30)
@given(offset=st.floats(-100, 100), spread=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_denormalise_undoes_normalise_and_equals_the_slow_formula(offset, spread, seed):
    rows = np.random.default_rng(seed).normal(offset, spread, (50, 3)).astype(np.float32)
    normaliser = fitted(rows.tolist())
    low, high = rows.astype(np.float64).min(0), rows.astype(np.float64).max(0)
    scaled = normaliser(torch.from_numpy(rows))
    rounding = 1e-6 * (1 + np.abs(rows).max() / (high - low).min())
    np.testing.assert_allclose(scaled, 2 * (rows - low) / (high - low) - 1, atol=rounding)
    np.testing.assert_allclose(normaliser.denormalise(scaled), rows, rtol=1e-5, atol=1e-4 * spread)


def test_only_a_clamped_one_clips():
    far = torch.tensor([[100.0]])
    assert fitted([[-1.0], [1.0]], clamp=3.0)(far).item() == 3.0
    assert fitted([[-1.0], [1.0]])(far).item() == 100.0


def test_updates_widen_in_any_order_and_fit_starts_anew():
    data = torch.randn(90, 2)
    one, other = MinMaxNormaliser(2), MinMaxNormaliser(2)
    one.fit(data)
    for part in reversed(data.split(17)):
        other.update(part)
    assert torch.equal(one.low, other.low) and torch.equal(one.high, other.high)
    other.fit(data[:5])
    assert torch.equal(other.high, data[:5].amax(0))


def test_it_starts_as_the_identity_and_its_ranges_travel_with_the_weights():
    one, other = MinMaxNormaliser(2), MinMaxNormaliser(2)
    x = torch.rand(4, 2)
    assert torch.equal(one(x), x)
    one.fit(torch.randn(50, 2) * 3 + 1)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))
    other.update(torch.full((1, 2), 50.0))
    assert (other.high == 50.0).all() and torch.equal(other.low, one.low)


def test_bad_rows_are_refused_and_a_frozen_one_ignores_all():
    normaliser = fitted([[0.0, 0.0], [1.0, 2.0]])
    before = {n: v.clone() for n, v in normaliser.state_dict().items()}
    for change in (normaliser.update, normaliser.fit):
        with pytest.raises(ValueError, match=r"\[1\] are not finite"):
            change(torch.tensor([[1.0, float("nan")]]))
        with pytest.raises(ValueError, match="2 numbers per row"):
            change(torch.randn(5, 3))
    normaliser.freeze()
    normaliser.update(torch.full((1, 2), 9.0))
    normaliser.fit(torch.full((1, 2), 9.0))
    assert all(torch.equal(v, before[n]) for n, v in normaliser.state_dict().items())

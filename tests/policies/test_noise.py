"""Noise from what is seen: standard normal, independent of the batch, different for different sights."""

import numpy as np
import torch
from embodkd.policies.noise import noise_of


def slow(row, count):
    """The same numbers from Python's own integers."""

    def mix(state):
        state &= 0xFFFFFFFF
        state = ((state ^ (state >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
        state = ((state ^ (state >> 15)) * 0x846CA68B) & 0xFFFFFFFF
        return state ^ (state >> 16)

    seed = mix(sum(mix(round(x * 65536) + place * 0x9E3779B9) for place, x in enumerate(row)))
    unit = [((mix(seed + (k + 1) * 0x9E3779B9) >> 8) + 1) / 2**24 for k in range(2 * count)]
    return [np.sqrt(-2 * np.log(unit[k])) * np.cos(2 * np.pi * unit[count + k]) for k in range(count)]


def test_it_is_the_stated_hash_row_by_row():
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 100
    expected = [slow(row, 6) for row in rows.tolist()]
    np.testing.assert_allclose(noise_of(rows, 6), expected, atol=1e-5)
    assert torch.equal(noise_of(rows[3:4], 6), noise_of(rows, 6)[3:4])


def test_it_is_standard_normal_and_rows_and_columns_are_unrelated():
    # The least different rows that there are: the next one is a step away in one number.
    steps = torch.arange(4000)[:, None] / 65536
    noise = noise_of(torch.cat([steps, torch.zeros_like(steps)], dim=1), 8).double()
    assert abs(noise.mean()) < 0.02 and abs(noise.var() - 1) < 0.02 and abs(noise.pow(4).mean() - 3) < 0.15
    assert (torch.corrcoef(noise.T) - torch.eye(8)).abs().max() < 0.06
    assert (noise[1:] * noise[:-1]).mean(0).abs().max() < 0.06


def test_it_tells_places_and_signs_apart_and_is_finite_far_out():
    rows = torch.tensor([[1.0, 2.0], [2.0, 1.0], [-1.0, 2.0], [1.0, -2.0], [1e9, -1e9]])
    noise = noise_of(rows, 4)
    assert torch.isfinite(noise).all() and len({tuple(row) for row in noise.tolist()}) == 5

"""Scaling by range, deviation or quantiles: exact inverses in any unit, finite where nothing moves."""

from typing import get_args

import numpy as np
import pytest
import torch
from embodkd.policies import POLICIES, ChunkPolicy, load_policy, make_policy, save_policy
from embodkd.policies.scaling import Scaling, for_actions, for_states
from hypothesis import given, settings
from hypothesis import strategies as st

WAYS = get_args(Scaling)


def arm(rows: int = 400) -> torch.Tensor:
    """Joints in degrees, one that never moves, and a gripper that opens once."""
    generator = np.random.default_rng(0)
    gripper = np.zeros(rows)
    gripper[7] = 100.0
    columns = [generator.normal(40, 20, rows), np.full(rows, 87.312), generator.uniform(-170, 170, rows), gripper]
    return torch.tensor(np.stack(columns, 1), dtype=torch.float32)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_shown_comes_out_near_one_and_back_in_its_unit(way):
    rows, normaliser = arm(), for_actions(way, 4)
    normaliser.fit(rows)
    scaled = normaliser.normalise(rows)
    assert torch.isfinite(scaled).all() and scaled.abs().max() < 25.0
    assert not scaled[:, 1].any(), "what never moves is zero"
    torch.testing.assert_close(normaliser.denormalise(scaled), rows, atol=1e-3, rtol=1e-5)
    assert for_states(way, 4).eval()(1e6 * torch.ones(1, 4)).abs().max() <= 10.0


@settings(max_examples=20)
@given(offset=st.floats(-200, 200), spread=st.floats(0.01, 100))
def test_each_way_is_its_formula(offset, spread):
    rows = torch.from_numpy(np.random.default_rng(1).normal(offset, spread, (300, 2)).astype(np.float32))
    values, expected = rows.double().numpy(), {}
    low, high = values.min(0), values.max(0)
    expected["range"] = 2 * (values - low) / (high - low) - 1
    expected["deviation"] = (values - values.mean(0)) / values.std(0)
    ordered = np.sort(values, 0)
    first, last = ordered[round(0.01 * 299)], ordered[round(0.99 * 299)]
    expected["quantiles"] = 2 * (values - first) / (last - first) - 1
    for way in WAYS:
        normaliser = for_actions(way, 2)
        normaliser.fit(rows)
        rounding = 1e-5 * (1 + np.abs(values).max() / spread)
        np.testing.assert_allclose(normaliser.normalise(rows), expected[way], atol=rounding)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "range"])
def test_what_needs_all_rows_at_once_refuses_them_bit_by_bit(way):
    normaliser = for_actions(way, 4)
    with pytest.raises(ValueError, match="scaling=range"):
        normaliser.update(arm())
    normaliser.fit(arm())
    before = normaliser.low.clone()
    normaliser.freeze().update(arm() + 1)
    assert torch.equal(normaliser.low, before)


CHUNKED = {
    "mlp_chunk": {"width": 8, "blocks": 1},
    "camera_chunk": {"cameras": (), "hidden": (8,)},
    "diffusion": {"widths": (8, 16), "horizon": 4, "execute": 2},
}


def test_every_policy_that_imitates_chunks_is_here():
    assert set(CHUNKED) == {name for name in POLICIES.names() if issubclass(POLICIES.get(name), ChunkPolicy)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CHUNKED)
def test_the_scaling_travels_with_the_policy(name, way, groups, obs, tmp_path):
    # samples of a diffusion stay within [-1, 1], which a deviation is not
    if (name, way) == ("diffusion", "deviation"):
        with pytest.raises(ValueError, match="scaling"):
            make_policy(name, groups, 4, scaling=way, **CHUNKED[name])
        return
    policy = make_policy(name, groups, 4, scaling=way, **CHUNKED[name])
    policy.fit_normalisers(obs, arm())
    loaded, _ = load_policy(save_policy(tmp_path / "p", policy, task={"name": "arm"}))
    assert type(loaded.actions) is type(policy.actions)
    np.testing.assert_array_equal(loaded.act(obs), policy.act(obs))

"""Policy folders that an earlier version wrote load and act as they did."""

import json
from pathlib import Path

import numpy as np
import pytest
from embodkd.policies import load_policy, save_policy, session_of

FOLDERS = Path(__file__).parent / "earlier"
# a diffusion policy's folder would take megabytes
NAMES = ("blind", "camera_chunk", "depth_cnn", "mlp", "mlp_chunk", "pointnet", "residual", "rgb_cnn")


@pytest.mark.parametrize("name", NAMES)
def test_an_earlier_folder_loads_and_acts_alike(name, tmp_path):
    policy, meta = load_policy(FOLDERS / name)
    again = save_policy(tmp_path / name, policy, task={**meta["task"], "control_hz": meta["control_hz"]})
    now = json.loads((again / "config.json").read_text())
    np.testing.assert_allclose(now["golden_action"], meta["golden_action"], atol=1e-5)
    assert np.ptp(meta["golden_action"]) > 1e-4, "a policy that always does the same would prove nothing"
    obs = {n: np.ones((2, *seen.shape), seen.dtype) for n, seen in policy.inputs.items()}
    np.testing.assert_allclose(session_of(policy, 2).act(obs), policy.act(obs), atol=1e-6)

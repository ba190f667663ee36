"""Policy folders that an earlier version wrote load and act as they did."""

import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest
from embodkd.policies import load_policy, save_policy, session_of

FOLDERS = Path(__file__).parent / "earlier"
NAMES = ("blind", "camera_chunk", "depth_cnn", "diffusion", "mlp", "mlp_chunk", "pointnet", "residual", "rgb_cnn")


def whole(name, place):
    """The folder, with weights. A diffusion policy has megabytes of them: these repeat themselves and lie packed."""
    folder = shutil.copytree(FOLDERS / name, place)
    for packed in folder.glob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_an_earlier_folder_loads_and_acts_alike(name, tmp_path):
    policy, meta = load_policy(whole(name, tmp_path / "earlier"))
    again = save_policy(tmp_path / name, policy, task={**meta["task"], "control_hz": meta["control_hz"]})
    now = json.loads((again / "config.json").read_text())
    np.testing.assert_allclose(now["golden_action"], meta["golden_action"], atol=1e-5)
    assert np.ptp(meta["golden_action"]) > 1e-4, "a policy that always does the same would prove nothing"
    obs = {n: np.ones((2, *seen.shape), seen.dtype) for n, seen in policy.inputs.items()}
    # diffusion calls its network several times, and each makes more of a rounding
    np.testing.assert_allclose(session_of(policy, 2).act(obs), policy.act(obs), atol=2e-5)

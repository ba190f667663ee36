"""Policy folders: the same actions after loading, no pickle, one clear error for everything else."""

import json

import numpy as np
import pytest
import torch
from embodkd.policies import POLICIES, load_policy, make_policy, save_policy
from embodkd.policies.session import session_of
from safetensors.torch import load_file, save_file

TASK = {"name": "toy", "engine": "mujoco", "options": {"randomness": "low"}, "control_hz": 20.0}


@pytest.fixture
def saved(tmp_path, groups, obs):
    policy = make_policy("depth_cnn", groups, 4)
    policy.update_statistics(obs)
    return save_policy(tmp_path / "policy", policy, task=TASK, lineage={"method": "dagger", "teacher": "t"})


@pytest.mark.parametrize("name", POLICIES.names())
def test_acts_the_same_after_loading(name, tmp_path, groups, obs):
    policy = make_policy(name, groups, 4)
    policy.update_statistics(obs)
    save_policy(tmp_path / "p", policy, task=TASK)
    loaded, meta = load_policy(tmp_path / "p")
    np.testing.assert_array_equal(loaded.act(obs), policy.act(obs))
    assert loaded.reads == policy.reads and not loaded.training
    assert meta["task"]["name"] == "toy" and meta["control_hz"] == 20.0
    assert {n: g["privileged"] for n, g in meta["groups"].items()} == {n: groups[n].privileged for n in policy.reads}


@pytest.mark.parametrize("name", POLICIES.names())
def test_in_double_precision_it_acts_as_near_as_single_precision_is_and_stays_float32_outside(
    name, tmp_path, groups, obs
):
    policy = make_policy(name, groups, 4)
    policy.update_statistics(obs)
    single = policy.act(obs), session_of(policy, 6).act(obs)
    policy.double()
    double = policy.act(obs), session_of(policy, 6).act(obs)
    for one, other in zip(single, double, strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=1e-4)
    loaded, _ = load_policy(save_policy(tmp_path / "p", policy, task=TASK))
    np.testing.assert_allclose(loaded.act(obs), double[0], atol=1e-4)


def test_constructor_arguments_travel(tmp_path, groups, obs):
    policy = make_policy("mlp", groups, 4, hidden=(8, 9, 10), vectors=("proprio",))
    loaded, meta = load_policy(save_policy(tmp_path / "p", policy, task=TASK))
    assert meta["arguments"]["hidden"] == [8, 9, 10]
    np.testing.assert_array_equal(loaded.act(obs), policy.act(obs))


def test_folder_holds_weights_json_and_card_only(saved):
    assert sorted(p.name for p in saved.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "model.safetensors.sha256",
    ]  # fmt: skip
    card = (saved / "README.md").read_text()
    assert card.startswith("---\n") and "| `wrist_depth` |" in card and "teacher" in card


def test_loading_leaves_the_random_stream_alone(saved):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_policy(saved)
    assert torch.equal(torch.rand(3), expected)


def test_changed_weights_are_noticed(saved):
    tensors = load_file(saved / "model.safetensors")
    tensors["head.4.bias"] += 0.1
    save_file(tensors, saved / "model.safetensors", metadata={"arrays": "[]"})
    (saved / "model.safetensors.sha256").unlink()  # as where somebody changed them on purpose
    with pytest.raises(ValueError, match="acts differently"):
        load_policy(saved)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_part_is_named(saved, missing):
    (saved / missing).unlink()
    with pytest.raises(ValueError, match=f"{missing} missing"):
        load_policy(saved)


def test_a_truncated_file_is_named(saved):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="model.safetensors: damaged"):
        load_policy(saved)


def test_weights_of_another_network_are_refused(saved, tmp_path, groups):
    other = save_policy(tmp_path / "other", make_policy("blind", groups, 4), task=TASK)
    for name in ("model.safetensors", "model.safetensors.sha256"):
        (saved / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ValueError, match="do not belong together"):
        load_policy(saved)


def test_pickles_are_never_opened(tmp_path):
    bomb = tmp_path / "model.pt"
    bomb.write_bytes(b"cos\nsystem\n(S'touch bombed'\ntR.")
    with pytest.raises(ValueError, match="pickle"):
        load_policy(bomb)
    with pytest.raises(ValueError, match=r"model\.pt may be a pickle"):
        load_policy(tmp_path)


def test_near_misses_get_advice(saved):
    with pytest.raises(ValueError, match="did you mean 'policy'"):
        load_policy(saved.parent / "polcy")
    with pytest.raises(ValueError, match="did you mean .*policy"):
        load_policy(saved.parent)


def test_a_newer_format_and_an_unknown_class_are_refused(saved):
    meta = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(ValueError, match="upgrade"):
        load_policy(saved)
    (saved / "config.json").write_text(json.dumps({**meta, "policy": "depth_cn"}))
    with pytest.raises(ValueError, match="did you mean 'depth_cnn'"):
        load_policy(saved)


def test_broken_weights_are_not_saved(tmp_path, groups):
    policy = make_policy("blind", groups, 4)
    with torch.no_grad():
        policy.head[0].bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        save_policy(tmp_path / "p", policy, task=TASK)
    assert not (tmp_path / "p").exists()

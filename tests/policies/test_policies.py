"""Every registered policy: reads what it says, acts deterministically, learns, refuses wrong groups and keys."""

import numpy as np
import pytest
import torch
from embodkd.policies import POLICIES, make_policy

NAMES = POLICIES.names()
PRIVILEGED = ("mlp", "diffusion", "mlp_chunk", "residual")


def tensors(obs):
    return {name: torch.from_numpy(value) for name, value in obs.items()}


@pytest.mark.parametrize("name", NAMES)
def test_acts_with_clipped_finite_float32(name, groups, obs):
    policy = make_policy(name, groups, 4)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(5.0)
    action = policy.act(obs)
    assert action.shape == (6, 4)
    assert action.dtype == np.float32
    assert np.isfinite(action).all() and np.abs(action).max() <= 1.0


@pytest.mark.parametrize("name", NAMES)
def test_acting_is_deterministic_even_in_training_mode_and_row_by_row(name, groups, obs):
    policy = make_policy(name, groups, 4).train()
    action = policy.act(obs)
    assert policy.training
    np.testing.assert_array_equal(action, policy.act(obs))
    single = np.concatenate([policy.act({n: v[i : i + 1] for n, v in obs.items()}) for i in range(6)])
    np.testing.assert_allclose(single, action, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_depends_on_the_groups_it_reads_and_on_no_other(name, groups, obs):
    policy = make_policy(name, groups, 4).eval()
    policy.update_statistics(obs)
    before = policy(tensors(obs))
    for group in groups:
        changed = {**obs, group: 255 - obs[group] if groups[group].is_image else obs[group][::-1].copy()}
        same = torch.equal(policy(tensors(changed)), before)
        assert same == (group not in policy.reads), group


@pytest.mark.parametrize("name", NAMES)
def test_only_those_for_teachers_are_privileged(name, groups):
    assert make_policy(name, groups, 4).privileged == (name in PRIVILEGED)


# A residual's base is frozen and its head starts at zero: test_residual.py.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "residual"])
def test_every_parameter_gets_a_gradient(name, groups, obs):
    policy = make_policy(name, groups, 4).train()
    policy(tensors(obs)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())


@pytest.mark.parametrize("side", [32, 48, 64])
@pytest.mark.parametrize("name", ["depth_cnn", "rgb_cnn"])
def test_any_image_size(name, side, observe):
    groups, obs = observe(side)
    assert make_policy(name, groups, 4).act(obs).shape == (6, 4)


def test_other_cameras_by_argument(groups, obs):
    policy = make_policy("rgb_cnn", groups, 4, cameras=("front_rgb",))
    assert policy.reads == ("proprio", "front_rgb")
    assert policy.act(obs).shape == (6, 4)


def test_points_are_subsampled_in_training_only(groups, obs):
    policy = make_policy("pointnet", groups, 4, sample=16)
    policy.train()
    assert not torch.equal(policy(tensors(obs)), policy(tensors(obs)))
    policy.eval()
    shuffled = {**obs, "points": obs["points"][:, ::-1].copy()}
    assert torch.allclose(policy(tensors(obs)), policy(tensors(shuffled)))


def test_blind_has_the_head_of_its_seeing_twin(groups):
    blind, seeing = make_policy("blind", groups, 4), make_policy("depth_cnn", groups, 4)
    widths = [[m.out_features for m in p.head if hasattr(m, "out_features")] for p in (blind, seeing)]
    assert widths[0] == widths[1]


def test_mistakes_name_what_exists(groups):
    with pytest.raises(ValueError, match="did you mean 'depth_cnn'"):
        make_policy("dept_cnn", groups, 4)
    with pytest.raises(ValueError, match="did you mean 'cameras'"):
        make_policy("depth_cnn", groups, 4, camera=("wrist_depth",))
    with pytest.raises(ValueError, match="did you mean 'wrist_depth'"):
        make_policy("depth_cnn", groups, 4, cameras=("wrist_dept",))
    with pytest.raises(ValueError, match="expected an image"):
        make_policy("depth_cnn", groups, 4, cameras=("proprio",))

"""The camera student of absolute poses: its loss in scaled actions, its ranges from a teacher, its blind twin."""

import numpy as np
import torch
from embodkd.policies import make_policy


def test_the_loss_is_smooth_l1_of_scaled_actions(groups, obs):
    policy = make_policy("camera_chunk", groups, 4, smooth_l1_beta=0.2).eval()
    target = np.random.default_rng(0).uniform(-0.3, 0.5, (6, 1, 4)).astype(np.float32)
    policy.update_statistics({**obs, "target": target[:, 0]})
    tensors = {name: torch.from_numpy(values) for name, values in obs.items()}
    low, high = target[:, 0].min(0), target[:, 0].max(0)
    with torch.no_grad():
        loss = policy.loss(tensors, torch.from_numpy(target)).numpy()
        found = policy.chunk(tensors).numpy()
    gap = np.abs(found - (2 * (target - low) / (high - low) - 1))
    slow = np.where(gap < 0.2, gap**2 / 0.4, gap - 0.1).mean((1, 2))
    np.testing.assert_allclose(loss, slow, rtol=2e-5)


def test_actions_come_out_in_the_teachers_range(groups, obs):
    policy = make_policy("camera_chunk", groups, 2).eval()
    policy.update_statistics({**obs, "target": np.array([[0.1, -0.2], [0.1, 0.4]], np.float32)})
    with torch.no_grad():
        for parameter in policy.head[-1].parameters():
            parameter.zero_()
    # an output of zero is the middle of the range
    np.testing.assert_allclose(policy.act(obs), [[0.1, 0.1]] * 6, atol=1e-6)


def test_without_cameras_it_reads_no_image(groups):
    assert make_policy("camera_chunk", groups, 4, cameras=()).reads == ("proprio",)

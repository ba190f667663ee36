"""The camera student of absolute poses: its loss in scaled actions, its ranges from a teacher, its blind twin."""

import numpy as np
import torch
from embodkd.policies import make_policy
from embodkd.policies.colours import mixed, standardised


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


def test_standardised_pictures_do_not_show_brightness_and_tint(groups, obs):
    pictures = torch.randint(0, 256, (4, 3, 8, 8)).float()
    tinted = pictures * torch.tensor([1.9, 0.5, 1.2])[:, None, None] + 7.0

    def without_floor(picture):
        deviation = picture.std((2, 3), correction=0, keepdim=True)
        return standardised(picture) * (deviation + 4.0) / deviation

    torch.testing.assert_close(without_floor(tinted), without_floor(pictures), atol=1e-2, rtol=1e-4)
    centred = pictures - pictures.mean((2, 3), keepdim=True)
    torch.testing.assert_close(without_floor(pictures).square().mean(), torch.tensor(128.0**2), atol=1.0, rtol=0)
    assert torch.equal(standardised(pictures) > 0, centred > 0)
    assert (standardised(torch.full((1, 3, 8, 8), 77, dtype=torch.uint8)) == 0).all()
    policy = make_policy("camera_chunk", groups, 4, standardise=True).eval()
    dim = {name: torch.from_numpy(values) for name, values in obs.items()}
    grey = {**dim, **{name: torch.full_like(dim[name], 50) for name in policy.trunks.cameras}}
    white = {**dim, **{name: torch.full_like(dim[name], 250) for name in policy.trunks.cameras}}
    assert torch.equal(policy.chunk(grey), policy.chunk(white)) and not torch.equal(
        policy.chunk(grey), policy.chunk(dim)
    )


def test_colours_are_mixed_by_a_matrix_for_each_picture_and_only_while_learning(groups, obs):
    pictures = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    torch.manual_seed(3)
    found = mixed(pictures, 0.4)
    torch.manual_seed(3)
    noise = torch.randn(4, 3, 3)
    for k in range(4):
        slow = torch.einsum("ij,jyx->iyx", torch.eye(3) + 0.4 * noise[k], pictures[k].float())
        torch.testing.assert_close(found[k], slow, atol=1e-3, rtol=1e-5)
    policy = make_policy("camera_chunk", groups, 4, jitter=0.4)
    tensors = {name: torch.from_numpy(values) for name, values in obs.items()}
    target = torch.zeros(6, 1, 4)
    assert not torch.equal(policy.train().loss(tensors, target), policy.loss(tensors, target))
    assert torch.equal(policy.eval().loss(tensors, target), policy.loss(tensors, target))


def test_standardised_pictures_do_not_depend_on_how_they_lie_in_memory():
    pictures = torch.randint(0, 256, (5, 3, 17, 19), dtype=torch.uint8)
    assert torch.equal(standardised(pictures), standardised(pictures.contiguous(memory_format=torch.channels_last)))

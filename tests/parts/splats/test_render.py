"""The renderer: footprints against projections on paper, pictures against a loop over pixels, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from embodkd.parts.splats.project import FAINTEST, SPREAD, Footprints, Gaussians, Pinhole, project, rotations, touching
from embodkd.parts.splats.render import DENSEST, blend, kernels, render

SIZE = 12
SEEDS = st.integers(0, 2**16)


def camera(pose: Tensor | None = None, focal: float = 9.0) -> Pinhole:
    own = torch.eye(4, dtype=torch.float64) if pose is None else pose
    return Pinhole(own, torch.tensor([focal, focal, SIZE / 2, SIZE / 2], dtype=torch.float64), SIZE, SIZE)


def some(seed: int, count: int = 12) -> Gaussians:
    """Gaussians before a camera at the origin, none so bright or dim that it is cut off."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=g, dtype=torch.float64)

    depth = uniform(count, 1, low=1.5, high=5.0)
    mean = torch.cat([uniform(count, 2, low=-0.5, high=0.5) * depth, depth], 1)
    turn = functional.normalize(torch.randn(count, 4, generator=g, dtype=torch.float64), dim=1)
    scale, opacity = uniform(count, 3, low=0.05, high=0.4), uniform(count, low=0.1, high=0.9)
    return Gaussians(mean, scale, turn, opacity, uniform(count, 3))


def anywhere(seed: int) -> Tensor:
    """A pose with any rotation."""
    g = torch.Generator().manual_seed(seed)
    turn = functional.normalize(torch.randn(1, 4, generator=g, dtype=torch.float64), dim=1)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3], pose[:3, 3] = rotations(turn)[0], torch.randn(3, generator=g, dtype=torch.float64)
    return pose


def test_a_ball_on_the_axis_has_a_round_footprint_of_its_size_over_its_depth():
    splats = some(0, 1)._replace(mean=torch.tensor([[0.0, 0.0, 4.0]]).double(), scale=torch.full((1, 3), 0.2).double())
    prints = project(splats, camera())
    wide = (9.0 * 0.2 / 4.0) ** 2 + SPREAD
    torch.testing.assert_close(prints.mean, torch.tensor([[6.0, 6.0]]).double())
    torch.testing.assert_close(prints.covariance, torch.tensor([[wide, 0.0, wide]]).double())
    assert prints.depth.item() == 4.0


@given(SEEDS)
def test_footprints_are_the_projection_of_samples_when_gaussians_are_small(seed: int):
    """The affine approximation is exact in the limit: mean and covariance of many projected points of a tiny one."""
    splats = some(seed, 1)
    splats = splats._replace(scale=splats.scale * 1e-3)
    view = camera(anywhere(seed))
    splats = splats._replace(mean=splats.mean @ view.pose[:3, :3].T + view.pose[:3, 3])
    rng = np.random.default_rng(seed)
    # 2,000 points and their mirror images: the mean has no noise
    half = rng.standard_normal((2000, 3))
    unit = torch.from_numpy(np.concatenate([half, -half]))
    points = splats.mean + (unit * splats.scale) @ rotations(splats.rotation)[0].T
    own = (points - view.pose[:3, 3]) @ torch.linalg.inv(view.pose[:3, :3]).T
    pixels = 9.0 * own[:, :2] / own[:, 2:] + SIZE / 2
    prints = project(splats, view)
    torch.testing.assert_close(pixels.mean(0), prints.mean[0], rtol=0, atol=1e-4)
    found = prints.covariance[0] - torch.tensor([SPREAD, 0.0, SPREAD], dtype=torch.float64)
    true = torch.cov(pixels.T, correction=0)
    flat = torch.stack([torch.stack([found[0], found[1]]), torch.stack([found[1], found[2]])])
    assert torch.linalg.norm(true - flat) < 0.15 * torch.linalg.norm(flat), (true, flat)


@given(SEEDS)
def test_pictures_move_with_the_world(seed: int):
    """The same turn of Gaussians and camera changes nothing."""
    splats, pose = some(seed), anywhere(seed)
    w, x, y, z = _quaternion(pose[:3, :3])
    a, b, c, d = splats.rotation.unbind(1)
    turned = torch.stack(
        [
            w * a - x * b - y * c - z * d, w * b + x * a + y * d - z * c,
            w * c - x * d + y * a + z * b, w * d + x * c - y * b + z * a,
        ], 1,
    )  # fmt: skip
    there = splats._replace(mean=splats.mean @ pose[:3, :3].T + pose[:3, 3], rotation=turned)
    torch.testing.assert_close(render(there, camera(pose))[0], render(splats, camera())[0], rtol=1e-7, atol=1e-9)


@given(SEEDS)
def test_the_order_of_the_gaussians_does_not_matter(seed: int):
    splats = some(seed)
    order = torch.randperm(len(splats.mean), generator=torch.Generator().manual_seed(seed))
    shuffled = Gaussians(*(each[order] for each in splats))
    torch.testing.assert_close(render(shuffled, camera())[0], render(splats, camera())[0], rtol=1e-9, atol=1e-12)


@given(SEEDS)
def test_blending_is_a_loop_over_pixels_from_front_to_back(seed: int):
    splats = some(seed, 8)
    prints = project(splats, camera())
    front = prints.depth.argsort()
    ordered = Footprints(*(each[front] for each in prints)), splats.opacity[front], splats.colour[front]
    picture = blend(*ordered, SIZE, SIZE)
    for tile in (5, 7):
        torch.testing.assert_close(blend(*ordered, SIZE, SIZE, tile), picture, rtol=1e-9, atol=1e-12)
    slow = np.zeros((3, SIZE, SIZE))
    order = sorted(range(8), key=lambda k: float(prints.depth[k]))
    for row in range(SIZE):
        for column in range(SIZE):
            left = 1.0
            for k in order:
                xx, xy, yy = prints.covariance[k].tolist()
                away = np.array([column + 0.5, row + 0.5]) - prints.mean[k].numpy()
                power = -0.5 * away @ np.linalg.inv([[xx, xy], [xy, yy]]) @ away
                alpha = min(DENSEST, float(splats.opacity[k]) * math.exp(power))
                if alpha < FAINTEST:
                    continue
                slow[:, row, column] += left * alpha * splats.colour[k].numpy()
                left *= 1 - alpha
    np.testing.assert_allclose(picture.numpy(), slow, rtol=1e-7, atol=1e-10)


def test_single_precision_is_as_good_as_double_at_the_size_that_is_trained():
    view = camera(focal=33.0)._replace(height=64, width=64)
    view = view._replace(intrinsics=torch.tensor([40.0, 40.0, 32.0, 32.0], dtype=torch.float64))
    exact = render(some(3, 200), view)[0]
    narrow = Pinhole(view.pose.float(), view.intrinsics.float(), 64, 64)
    single = render(Gaussians(*(each.float() for each in some(3, 200))), narrow)[0]
    # a Gaussian at the edge of what is seen may fall on the other side
    assert (single.double() - exact).abs().quantile(0.99) < 1e-4


@pytest.mark.parametrize("which", range(5), ids=Gaussians._fields)
def test_gradients_are_those_of_small_differences(which: int):
    # bright enough that no pixel crosses the threshold
    splats = some(1, 5)._replace(
        scale=torch.full((5, 3), 1.5).double() + some(2, 5).scale, opacity=some(1, 5).opacity * 0.5 + 0.2
    )
    wanted = splats[which].clone().requires_grad_()
    weight = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def drawn(value: Tensor) -> Tensor:
        return (render(splats._replace(**{Gaussians._fields[which]: value}), camera())[0] * weight).sum()

    (gradient,) = torch.autograd.grad(drawn(wanted), wanted)
    flat, slow = wanted.detach().flatten(), []
    for k in range(len(flat)):
        step = torch.zeros_like(flat)
        step[k] = 1e-6
        above, below = (drawn((flat + sign * step).view_as(wanted)) for sign in (1, -1))
        slow.append((above - below) / 2e-6)
    torch.testing.assert_close(gradient.flatten(), torch.stack(slow), rtol=1e-4, atol=1e-5)


def test_what_lies_behind_or_outside_is_not_drawn():
    mean = torch.tensor([[0.0, 0, 3], [0, 0, -3], [0, 0, 0.1], [50.0, 0, 3]]).double()
    splats = some(0, 4)._replace(mean=mean)
    assert touching(project(splats, camera()), (0, 0), (SIZE, SIZE)).tolist() == [True, False, False, False]
    alone = Gaussians(*(each[:1] for each in splats))
    assert torch.equal(render(splats, camera())[0], render(alone, camera())[0])


def test_nothing_is_black():
    empty = Gaussians(*(each[:0] for each in some(0)))
    assert not render(empty, camera())[0].any()


def test_a_footprint_outside_the_picture_is_not_blown_up():
    """Where the derivative at a Gaussian's own place would be huge, that at the edge is taken."""
    prints = Footprints(*project(some(0, 1)._replace(mean=torch.tensor([[40.0, 0, 0.5]]).double()), camera()))
    assert prints.covariance.abs().max() < (9.0 * 0.4 / 0.5) ** 2 * 3


def test_gsplat_is_never_replaced_in_silence():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="gsplat draws on a GPU"):
        kernels()


def _quaternion(matrix_33: Tensor) -> list[float]:
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(matrix_33.numpy()).as_quat()
    return [w, x, y, z]

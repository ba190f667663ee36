"""Corruptions: each against its definition, growing with severity, repeatable, never out of range."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embodkd.data.corruptions import CORRUPTIONS, corrupt

IMAGES = torch.rand(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_shape_range_and_repeatability(name):
    before = IMAGES.clone()
    for severity in range(1, 6):
        spoiled = corrupt(name, IMAGES, severity, 3)
        assert spoiled.shape == IMAGES.shape and spoiled.min() >= 0.0 and spoiled.max() <= 1.0
        assert torch.equal(spoiled, corrupt(name, IMAGES, severity, 3))
    assert torch.equal(IMAGES, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_more_severe_is_further_away(name):
    """On smooth pictures, where distance grows with any movement."""
    smooth = torch.nn.functional.interpolate(IMAGES[..., :4, :4], (32, 32), mode="bicubic").clamp(0, 1)
    distance = [(corrupt(name, smooth, s, 0) - smooth).square().mean().item() for s in range(1, 6)]
    assert distance == sorted(distance) and distance[0] > 0


@pytest.mark.parametrize("name", ["noise", "shift", "rotation", "brightness", "style"])
def test_another_seed_spoils_differently(name):
    assert not torch.equal(corrupt(name, IMAGES, 3, 0), corrupt(name, IMAGES, 3, 1))


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(0, 99))
def test_a_shift_moves_whole_pixels_and_loses_only_what_leaves(severity, seed):
    inner = torch.zeros(6, 1, 20, 20)
    inner[:, :, 6:14, 6:14] = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) + 0.01
    inner = inner.clamp(max=1.0)
    moved = corrupt("shift", inner, severity, seed)
    for before, after in zip(inner, moved, strict=True):
        places = after[0].nonzero()
        dy, dx = (places.min(0).values - before[0].nonzero().min(0).values).tolist()
        assert max(abs(dy), abs(dx)) <= severity
        assert torch.equal(torch.roll(before, (dy, dx), (1, 2)), after)


def test_contrast_keeps_each_mean():
    spoiled = corrupt("contrast", IMAGES, 3, 0)
    torch.testing.assert_close(spoiled.mean((1, 2, 3)), IMAGES.mean((1, 2, 3)))
    torch.testing.assert_close(spoiled.std((1, 2, 3)), 0.4 * IMAGES.std((1, 2, 3)))


def test_noise_has_its_standard_deviation():
    grey = torch.full((50, 1, 32, 32), 0.5)
    assert abs((corrupt("noise", grey, 2, 0) - grey).std().item() - 0.1) < 0.002


def test_blur_is_the_gaussian_average_and_keeps_constants():
    flat = torch.full((2, 3, 9, 9), 0.3)
    torch.testing.assert_close(corrupt("blur", flat, 5, 0), flat)
    dot = torch.zeros(1, 1, 21, 21)
    dot[..., 10, 10] = 1.0
    sigma = 0.1 * 21
    spread = corrupt("blur", dot, 4, 0)[0, 0]
    ratio = math.exp(-0.5 * (1 + 4) / sigma**2)
    assert math.isclose(spread[11, 12] / spread[10, 10], ratio, rel_tol=1e-4)


def test_rotation_turns_about_the_centre():
    """A disc stays, the angles fill the stated range, and an upright bar leans by them."""
    axis = torch.linspace(-1, 1, 33)
    disc = ((axis[:, None] ** 2 + axis[None] ** 2) < 0.5).float().expand(8, 1, 33, 33)
    assert (corrupt("rotation", disc, 5, 0) - disc).abs().mean() < 0.03
    bar = torch.zeros(400, 1, 33, 33)
    bar[:, :, 4:29, 15:18] = 1.0
    turned = corrupt("rotation", bar, 4, 0)[:, 0]
    y, x = axis[:, None].expand(33, 33), axis[None].expand(33, 33)
    covariance = [(turned * a * b).sum((1, 2)) for a, b in ((x, y), (y, y), (x, x))]
    lean = 0.5 * torch.atan2(2 * covariance[0], covariance[1] - covariance[2]).rad2deg()
    assert 40 < lean.abs().max() < 46 and abs(lean.mean()) < 4 and 20 < lean.abs().mean() < 25


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="expected images"):
        corrupt("noise", torch.zeros(3, 64), 1, 0)
    with pytest.raises(ValueError, match="did you mean 'rotation'"):
        corrupt("rotatoin", IMAGES, 1, 0)

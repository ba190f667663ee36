"""PSNR and SSIM against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from embodkd.parts.images.similarity import psnr, ssim, ssim_map


def pair(seed: int, size: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    smooth = functional.interpolate(torch.rand(2, 3, 6, 6, generator=g, dtype=torch.float64), size=(size, size + 4))
    return smooth, (smooth + 0.1 * torch.randn(smooth.shape, generator=g, dtype=torch.float64)).clamp(0, 1)


@pytest.mark.parametrize("seed", range(3))
def test_they_are_scikit_images(seed: int):
    metrics = pytest.importorskip("skimage.metrics")
    one, other = pair(seed)
    for k in range(2):
        a, b = (each[k].permute(1, 2, 0).numpy() for each in (one, other))
        assert psnr(one, other)[k].item() == pytest.approx(metrics.peak_signal_noise_ratio(a, b, data_range=1.0))
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        wanted = metrics.structural_similarity(a, b, channel_axis=2, **options)
        assert ssim(one, other, crop=True)[k].item() == pytest.approx(wanted, abs=1e-10)


def test_outside_counts_as_black():
    """The whole map is that of the pictures in a black frame."""
    one, other = pair(0)
    framed = ssim_map(*(functional.pad(each, (5,) * 4) for each in (one, other)))[..., 5:-5, 5:-5]
    torch.testing.assert_close(ssim_map(one, other), framed)
    np.testing.assert_allclose(ssim(one, other), ssim_map(one, other).mean((1, 2, 3)))


def test_a_picture_is_itself():
    one, _ = pair(1)
    assert torch.isinf(psnr(one, one)).all()
    torch.testing.assert_close(ssim(one, one), torch.ones(2, dtype=torch.float64))

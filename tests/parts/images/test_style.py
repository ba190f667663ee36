"""Mixed styles: whose mean and spread an image has, and what of it stays."""

import pytest
import torch

from embodkd.core import Signals
from embodkd.parts.images.style import mix_styles, restyled, style

N = 6


def pictures(seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(N, 3, 1, 1, generator=generator, dtype=torch.float64) + 0.5
    return scale * torch.randn(N, 3, 5, 4, generator=generator, dtype=torch.float64) + 3 * scale


ORDER = torch.tensor([2, 0, 5, 1, 3, 4])


def test_a_whole_share_gives_the_image_back():
    torch.testing.assert_close(restyled(pictures(), torch.ones(N), ORDER), pictures(), rtol=1e-5, atol=1e-5)


def test_the_new_mean_and_spread_are_the_mixed_ones_and_the_content_stays():
    x, share = pictures(), torch.linspace(0, 1, N, dtype=torch.float64)
    new = restyled(x, share, ORDER)
    for n in range(N):
        for c in range(3):
            own, other, mixed = x[n, c].numpy(), x[ORDER[n], c].numpy(), new[n, c].numpy()
            l = float(share[n])  # noqa: E741 (the equation's letter)
            assert mixed.mean() == pytest.approx(l * own.mean() + (1 - l) * other.mean(), abs=1e-5)
            assert mixed.std(ddof=1) == pytest.approx(l * own.std(ddof=1) + (1 - l) * other.std(ddof=1), abs=1e-5)
            content = (own - own.mean()) / own.std()
            assert (mixed - mixed.mean()) / mixed.std() == pytest.approx(content, abs=1e-5)


def test_no_gradient_reaches_mean_and_spread():
    """So the derivative is the mere factor sigma_mixed / sigma of each pixel."""
    x, share = pictures().requires_grad_(), torch.full((N,), 0.3)
    (slope,) = torch.autograd.grad(restyled(x, share, ORDER).sum(), x)
    std = style(x)[1]
    torch.testing.assert_close(slope, ((0.3 * std + 0.7 * std[ORDER]) / std).expand_as(slope), rtol=1e-6, atol=0)


def test_one_share_per_image_from_the_global_generator_mostly_near_the_ends():
    x = pictures()
    torch.manual_seed(0)
    prepare = mix_styles(0.1)
    first = prepare(Signals(input=x))["mixed"]
    torch.manual_seed(0)
    beta = torch.distributions.Beta(0.1, 0.1)
    share, other = beta.sample((N,)), torch.randperm(N)
    torch.testing.assert_close(first, restyled(x, share, other))
    many = beta.sample((4000,))
    assert ((many < 0.05) | (many > 0.95)).float().mean() > 0.7
    with pytest.raises(ValueError, match="concentration"):
        mix_styles(0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_of_one_colour_and_huge_ones_stay_finite(dtype):
    x = torch.stack([torch.zeros(1, 4, 4), torch.full((1, 4, 4), 1e4), 1e4 * torch.eye(4)[None]]).to(dtype)
    x.requires_grad_()
    new = restyled(x, torch.tensor([0.0, 0.5, 1.0]), torch.tensor([2, 0, 1]))
    (slope,) = torch.autograd.grad(new.sum(), x)
    assert torch.isfinite(new).all() and torch.isfinite(slope).all() and new.dtype == dtype

"""Augmentors: identities, gradients, masks; shifts by hand; a latent that moves no further than its cap."""

import pytest
import torch

from embodkd.core import Context, Fix, Optimiser, Player, Recipe, Role, Signals, TensorData, Trainer, fit
from embodkd.parts.images.augment import Affine, Mix, moved, shifted, shifts
from embodkd.parts.images.vae import PIXEL_STD, VAE, Latent, evidence

N, K = 6, 8


def pictures(n=N, size=8, seed=0, dtype=torch.float64):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def seen(images, noise_size=K, seed=1):
    noise = torch.randn(len(images), noise_size, generator=torch.Generator().manual_seed(seed))
    return {"input": images, "noise": noise.to(images)}


def affine(numbers):
    return torch.tensor([numbers], dtype=torch.float64).view(1, 2, 3).repeat(N, 1, 1)


def test_known_maps_do_what_they_say():
    x = pictures()
    torch.testing.assert_close(moved(x, affine([1, 0, 0, 0, 1, 0])), x)
    torch.testing.assert_close(moved(x, affine([-1, 0, 0, 0, 1, 0])), x.flip(-1))
    torch.testing.assert_close(moved(x, affine([0, 1, 0, 1, 0, 0])), x.transpose(-1, -2))
    right = moved(x, affine([1, 0, -2 / 8, 0, 1, 0]))
    torch.testing.assert_close(right[..., 1:], x[..., :-1])
    assert right[..., 0].abs().max() < 1e-12


def test_an_untrained_augmentor_without_spread_is_the_identity_and_a_spread_one_depends_on_its_noise():
    x = pictures()
    torch.testing.assert_close(Affine(spread=0.0).double()(seen(x))["image"], x)
    spread = Affine(spread=0.5).double()
    assert spread.maps(seen(x)["noise"]).std(0).min() > 0
    assert not torch.allclose(spread(seen(x, seed=1))["image"], spread(seen(x, seed=2))["image"])


def test_gradients_of_the_six_numbers_are_finite_differences():
    x, maps = pictures(), affine([1.1, 0.05, 0.03, -0.04, 0.93, 0.02]).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: moved(x, m).sin(), maps, eps=1e-7, atol=1e-5)


def test_a_mix_is_a_convex_combination_of_an_image_and_the_next():
    x = pictures()
    mix = Mix(1, spread=2.0, keep=0.0).double()
    image, other = mix(seen(x))["image"], x.roll(1, 0)
    assert (image <= torch.maximum(x, other) + 1e-12).all() and (image >= torch.minimum(x, other) - 1e-12).all()
    assert not torch.allclose(image, x) and not torch.allclose(image, other)
    torch.testing.assert_close(Mix(1, spread=0.0).double()(seen(x))["image"], x + (other - x) / (1 + torch.e**4))
    torch.testing.assert_close(mix(seen(x[:1]))["image"], x[:1])


def test_shifts_are_whole_pixels_each_as_likely_and_nothing_wraps_around():
    x = torch.zeros(4000, 1, 5, 5)
    x[:, :, 2, 2] = 1.0
    torch.manual_seed(0)
    counts_HW = shifted(x, 1).sum((0, 1))
    assert counts_HW.sum() == 4000 and (counts_HW[1:4, 1:4] - 4000 / 9).abs().max() < 5 * (4000 / 9) ** 0.5
    lost = shifted(x, 3)
    assert 0 < lost.sum() < 4000 and set(lost.sum((1, 2, 3)).tolist()) == {0.0, 1.0}
    torch.testing.assert_close(shifts(0)(Signals(input=x))["input"], x)
    for pixels, complaint in ((-1, "shift"), (5, "5 pixels move images of 5 x 5 out of themselves")):
        with pytest.raises(ValueError, match=complaint):
            shifts(pixels)(Signals(input=x))


def test_the_evidence_is_the_sum_of_its_slow_parts():
    torch.manual_seed(0)
    x = pictures()
    s = Signals(VAE((1, 8, 8), latent=3).double()(x))
    found = evidence(Signals(input=x), s)
    for i in range(N):
        error = sum((a - b) ** 2 for a, b in zip(s.image[i].flatten(), x[i].flatten(), strict=True))
        normal = torch.distributions.Normal(s.mean[i], (s.log_variance[i] / 2).exp())
        kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(torch.zeros(3).double(), 1.0)).sum()
        torch.testing.assert_close(found["reconstruction"][i], error / (2 * PIXEL_STD**2))
        torch.testing.assert_close(found["latent"][i], kl)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 14, 11)])
def test_decoded_images_have_the_shape_and_range_of_images(shape):
    image = VAE(shape)(torch.rand(2, *shape))["image"]
    assert image.shape == (2, *shape) and image.min() >= 0 and image.max() <= 1


def test_a_latent_augmentor_without_spread_reconstructs_and_never_moves_further_than_its_cap():
    torch.manual_seed(0)
    x, vae = pictures(), VAE((1, 8, 8), latent=4).double().eval()
    still = Latent(vae, 4, spread=0.0).double()
    torch.testing.assert_close(still(seen(x))["image"], vae(x)["image"])
    wild = Latent(vae, 4, spread=100.0, cap=0.7).double()
    vae.decoder = torch.nn.Identity()
    offset_NL = wild(seen(x))["image"] - vae(x)["mean"]
    assert (offset_NL.norm(dim=1) < 0.7).all() and (offset_NL.norm(dim=1) > 0.69).all()


def test_a_fixed_vae_stays_while_the_moves_learn_and_both_survive_a_resume():
    torch.manual_seed(0)
    vae = VAE((1, 8, 8), latent=4)
    latent = Latent(vae, 4)
    data = TensorData({"input": pictures(32, dtype=torch.float32), "noise": torch.randn(32, K)})
    first = fit(Player(Role(vae), evidence), data, batch_size=16).stages[0]

    def far(batch, s):
        return {"far": (s.image_NCHW - 1.0).square().mean((1, 2, 3))}

    second = fit(Player(Role(latent), far, optimiser=Optimiser("adam", 0.05)), data, batch_size=16, epochs=3).stages[0]
    state = {}

    def remember(context):
        state.update({name: value.clone() for name, value in latent.state_dict().items()})

    Trainer(quiet=True).fit(Recipe((first, Fix(vae), remember, second), latent))
    for name, value in latent.state_dict().items():
        assert torch.equal(value, state[name]) == name.startswith("vae."), name
    again = VAE((1, 8, 8))
    Fix(again).restore(Context(None, 0, torch.device("cpu")))
    assert not any(p.requires_grad for p in again.parameters())

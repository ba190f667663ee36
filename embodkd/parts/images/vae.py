"""A small variational autoencoder of images (Kingma & Welling, ICLR 2014), and an augmentor that moves its latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from embodkd.core.batch.whole import drawn
from embodkd.core.signals import Signals
from embodkd.core.transfer import sent
from embodkd.parts.images.augment import Augmentor, small_network

PIXEL_STD = 0.1


class VAE(nn.Module):
    """Convolutional, for images (C, H, W) in [0, 1]; the latent has `latent` numbers.

    Its forward pass gives `mean` and `log_variance` (N, latent) of the latent and `image`, the image decoded from a
    draw (from the mean in evaluation mode).
    """

    reads = "input"

    def __init__(self, shape: Sequence[int], *, latent: int = 16, width: int = 16) -> None:
        super().__init__()
        channels, height, width_px = shape
        small = (-(-height // 4), -(-width_px // 4))
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * small[0] * small[1], 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, 2 * width * small[0] * small[1]),
            nn.ReLU(),
            nn.Unflatten(1, (2 * width, *small)),
            nn.Upsample((height, width_px), mode="bilinear"),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, images_NCHW: Tensor) -> dict[str, Tensor]:
        """{"mean", "log_variance", "image"}."""
        mean_NL, log_variance_NL = self.encoder(images_NCHW).chunk(2, 1)
        latent_NL = mean_NL
        if self.training:
            noise = sent(drawn(len(mean_NL), lambda items: torch.randn(items, mean_NL.shape[1])), mean_NL)
            latent_NL = mean_NL + (0.5 * log_variance_NL).exp() * noise
        return {"mean": mean_NL, "log_variance": log_variance_NL, "image": self.decoder(latent_NL)}


def evidence(batch: Signals, s: Signals) -> dict[str, Tensor]:
    """The negative evidence bound's two parts per image: -log p(image | latent) up to a constant, and KL to N(0, 1).

    Pixels are Gaussian with standard deviation PIXEL_STD; with a larger one small images are not worth a latent.
    """
    error_N = (s.image_NCHW - batch["input"]).square().flatten(1).sum(1) / (2.0 * PIXEL_STD**2)
    kl_NL = 0.5 * (s.mean_NL.square() + s.log_variance_NL.exp() - 1.0 - s.log_variance_NL)
    return {"reconstruction": error_N, "latent": kl_NL.sum(1)}


class Latent(Augmentor):
    """Encodes an image, adds an offset that a small network makes of noise and the latent itself, decodes.

    The offset's length stays below `cap`: u * cap / sqrt(cap^2 + |u|^2). `vae` must be trained and fixed before.
    """

    def __init__(
        self, vae: VAE, latent: int, *, noise_size: int = 8, hidden: int = 32, spread: float = 0.02, cap: float = 2.0
    ) -> None:
        super().__init__(noise_size)
        self.vae, self.cap = vae, cap
        self.network = small_network(noise_size + latent, hidden, latent, spread)

    def forward(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{"image": the decoded images}."""
        mean_NL, _ = self.vae.encoder(seen["input"]).chunk(2, 1)
        u_NL = self.network(torch.cat([seen["noise"], mean_NL], 1))
        offset_NL = u_NL * self.cap / (self.cap**2 + u_NL.square().sum(1, keepdim=True)).sqrt()
        return {"image": self.vae.decoder(mean_NL + offset_NL)}

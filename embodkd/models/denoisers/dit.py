"""A small diffusion transformer (Peebles & Xie, ICCV 2023) from diffusers as a denoiser of pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, Depth, Pixels, Positive, Real, Whole, Width
from embodkd.core.process import Prediction
from embodkd.models.base import MODELS, image_shape, library
from embodkd.models.denoisers.base import Denoiser
from embodkd.models.denoisers.perceptron import Levels


@MODELS.register("dit_denoiser", title="denoiser: a diffusion transformer (extra: diffusion)")
class DiTDenoiser(Denoiser):
    """Patches of `patch` x `patch` pixels, `depth` layers, `heads` heads of `head_width` each; square pictures only.

    Without `conditional` the network is told the same class of every picture.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        patch: Pixels = 2,
        depth: Depth = 4,
        heads: Width = 4,
        head_width: Width = 32,
        schedule: str = "linear",
        levels: Levels = 1000,
        prediction: Prediction = "epsilon",
        centre: Real = 0.5,
        spread: Positive = 0.5,
        conditional: bool = False,
        steps: Count = 50,
        jump: Whole | None = None,
    ) -> None:
        super().__init__(
            shape,
            classes,
            schedule=schedule,
            levels=levels,
            prediction=prediction,
            centre=centre,
            spread=spread,
            conditional=conditional,
            steps=steps,
            jump=jump,
        )
        channels, height, side = image_shape(shape, "dit_denoiser")
        if height != side or side % patch:
            raise ValueError(
                f"model dit_denoiser: pictures of {height} x {side}; squares that patch={patch} divides only"
            )
        self.net = library("diffusers", "dit_denoiser", "diffusion").DiTTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=head_width,
            in_channels=channels,
            out_channels=channels,
            num_layers=depth,
            sample_size=side,
            patch_size=patch,
            num_embeds_ada_norm=classes + 1,
            norm_num_groups=1,
        )
        for module in self.net.modules():
            if hasattr(module, "dropout_prob"):
                # who leaves labels out is the method, which draws so that processes agree
                module.dropout_prob = 0.0

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """The last layer."""
        last: nn.Module = self.net.proj_out_2
        return last

    def answer(self, noisy: Tensor, level_N: Tensor, label_N: Tensor | None) -> Tensor:
        """(N, C, H, W)."""
        told_N = torch.zeros(len(noisy), dtype=torch.int64, device=noisy.device) if label_N is None else label_N
        answer: Tensor = self.net(noisy, timestep=level_N, class_labels=told_N).sample
        return answer

"""Diffusion Policy (arXiv 2303.04137) as in ResiP (arXiv 2407.16677): chunks of actions sampled by DDIM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from embodkd.policies.base import POLICIES
from embodkd.policies.chunk import ChunkPolicy
from embodkd.policies.noise import noise_of
from embodkd.policies.resnet_encoder import ResNetEncoder
from embodkd.policies.unet import ConditionalUnet1d
from torch import Tensor, nn

from embodkd.core.batch.whole import drawn
from embodkd.core.config.ranges import Horizon, Width, Within

LEVELS = 100  # noise levels 0..99 that the network is trained on
WARM_LEVEL = 50  # where a warm start begins


@POLICIES.register("diffusion", modality="chunk")
class DiffusionPolicy(ChunkPolicy):
    """A U-Net of `widths` that takes the noise out of `horizon` actions, given vectors and, as a student, cameras.

    steps: network calls of a cold start. warm_start: "cold" samples each chunk from pure noise; "warm" starts from
    the plan that is left of the former chunk with noise of level 50, and skips the levels above it; with a single step
    it goes from there to the end in one call. Each camera has
    a ResNet with `features` outputs; in training mode the images of the cameras in `shifted` are moved at random by
    up to `shift` pixels. The noise is a function of the vectors that are seen, so acting is deterministic.
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        vectors: tuple[str, ...] = ("proprio", "privileged"),
        cameras: tuple[str, ...] = (),
        horizon: Horizon = 32,
        execute: Horizon = 8,
        widths: tuple[Width, ...] = (64, 128, 256),
        steps: Annotated[int, Within(1, LEVELS)] = 4,
        warm_start: Literal["warm", "cold"] = "warm",
        features: Width = 64,
        shift: Annotated[int, Within(0, 512)] = 4,
        shifted: tuple[str, ...] = ("front_rgb",),
    ) -> None:
        super().__init__(action_size, horizon, execute)
        self._read(groups, vectors, cameras, rank=3)
        if horizon % 2 ** (len(widths) - 1):
            raise ValueError(
                f"policy {self._title()}: horizon {horizon} cannot be halved {len(widths) - 1} times, as a U-Net of "
                f"widths {list(widths)} does; choose a multiple of {2 ** (len(widths) - 1)}"
            )
        if warm_start not in ("warm", "cold"):
            raise ValueError(f"policy {self._title()}: warm_start must be 'warm' or 'cold', not {warm_start!r}")
        if not 1 <= steps <= LEVELS:
            raise ValueError(f"policy {self._title()}: steps must be between 1 and {LEVELS}, got {steps}")
        self.cameras, self.warm = tuple(cameras), warm_start == "warm"
        self.encoders = nn.ModuleList(
            ResNetEncoder(self.inputs[c].shape[0], features, shift if c in shifted else 0) for c in self.cameras
        )
        self.unet = ConditionalUnet1d(action_size, self.normaliser.size + features * len(self.cameras), widths)
        self.scheduler = ddim(steps)
        grid = self.scheduler.timesteps.tolist()
        self.levels = grid
        if self.warm:
            self.levels = [level for level in grid if level <= WARM_LEVEL] if steps > 1 else [WARM_LEVEL]

    def chunk(self, obs: Mapping[str, Tensor], plan_NHA: Tensor) -> Tensor:
        """A sample of the next actions, normalised, in [-1, 1], (N, H, A)."""
        vectors_ND = torch.cat([obs[name] for name in self.vectors], dim=1)
        start_NHA = noise_of(vectors_ND, self.horizon * self.action_size).view_as(plan_NHA).to(plan_NHA.dtype)
        if self.warm:
            start_NHA = self.warm_start(plan_NHA, start_NHA)
        return self.denoise(start_NHA, self.condition(obs))

    def denoise(self, sample_NHA: Tensor, condition_NG: Tensor) -> Tensor:
        """From noise, or from a plan with noise, down to actions by DDIM without randomness (eta 0)."""
        for level in self.levels:
            level_N = sample_NHA.new_full((sample_NHA.shape[0],), level)
            noise_NHA = self.unet(sample_NHA, level_N, condition_NG)
            sample_NHA = self.scheduler.step(noise_NHA, level, sample_NHA).prev_sample
        return sample_NHA

    def warm_start(self, plan_NHA: Tensor, noise_NHA: Tensor) -> Tensor:
        """A plan with noise of the level at which a warm start begins."""
        return self.noised(plan_NHA, noise_NHA, torch.tensor(WARM_LEVEL, device=plan_NHA.device))

    def loss(self, obs: Mapping[str, Tensor], actions_NHA: Tensor) -> Tensor:
        """Mean squared error of the noise that the network finds in noised actions of a random level, (N,)."""
        clean_NHA = self.actions.normalise(actions_NHA)
        at: dict[str, Any] = {"dtype": clean_NHA.dtype, "device": clean_NHA.device}
        noise_NHA = drawn(len(clean_NHA), lambda items: torch.randn(items, *clean_NHA.shape[1:], **at))
        level_N = drawn(len(clean_NHA), lambda items: torch.randint(LEVELS, (items,), device=clean_NHA.device))
        found_NHA = self.unet(self.noised(clean_NHA, noise_NHA, level_N), level_N, self.condition(obs))
        return (found_NHA - noise_NHA).square().mean((1, 2))

    def noised(self, clean_NHA: Tensor, noise_NHA: Tensor, level: Tensor) -> Tensor:
        """sqrt(abar) clean + sqrt(1 - abar) noise, abar being what is left of the signal at this level (one, or N)."""
        kept = self.scheduler.alphas_cumprod.to(clean_NHA.device)[level].view(-1, 1, 1)
        return kept.sqrt() * clean_NHA + (1.0 - kept).sqrt() * noise_NHA

    def condition(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Normalised vectors and the cameras' features, (N, G)."""
        seen = [encoder(obs[camera]) for encoder, camera in zip(self.encoders, self.cameras, strict=True)]
        return torch.cat([self.vector(obs), *seen], dim=1)


def ddim(steps: int) -> Any:
    """diffusers' DDIM scheduler with the settings of ResiP: squared cosine, clipped samples, `steps` even steps."""
    try:
        from diffusers import DDIMScheduler
    except ImportError as error:
        raise ImportError("the diffusion policy needs diffusers: pip install 'embodkd[diffusion]'") from error
    scheduler = DDIMScheduler(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=True,
        set_alpha_to_one=True,
        timestep_spacing="leading",
        steps_offset=0,
        prediction_type="epsilon",
    )
    scheduler.set_timesteps(steps)
    return scheduler

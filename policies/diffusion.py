"""Diffusion Policy (arXiv 2303.04137) as in ResiP (arXiv 2407.16677): chunks of actions sampled by DDIM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from embodkd.policies.base import POLICIES
from embodkd.policies.chunk import ChunkPolicy, History
from embodkd.policies.noise import noise_of
from embodkd.policies.resnet_encoder import ResNetEncoder
from embodkd.policies.sentences import Language
from embodkd.policies.unet import ConditionalUnet1d
from torch import Tensor, nn

from embodkd.core.batch.whole import drawn
from embodkd.core.config.ranges import Horizon, Width, Within
from embodkd.core.transfer import on_host, sent

LEVELS = 100  # noise levels 0..99 that the network is trained on
WARM_LEVEL = 50  # where a warm start begins


@POLICIES.register("diffusion", modality="chunk")
class DiffusionPolicy(ChunkPolicy):
    """A U-Net of `widths` that takes the noise out of `horizon` actions, given vectors and, as a student, cameras.

    steps: network calls of a cold start. warm_start: "cold" samples each chunk from pure noise; "warm" starts from
    the plan that is left of the former chunk with noise of level 50, and skips the levels above it. Where nothing is
    planned yet a warm start is a cold one. With a single step it goes from level 50 to the end in one call, where
    nothing is planned from a plan of zeros. Each camera has
    a ResNet with `features` outputs; in training mode the images of the cameras in `shifted` are moved at random by
    up to `shift` pixels. The noise is a function of the vectors that are seen, so acting is deterministic. Samples stay
    within [-1, 1], so `scaling` is by the range of the demonstrations, or by quantiles, beyond which it never acts.
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
        scaling: Literal["range", "quantiles"] = "range",
        sentences: tuple[str, ...] | None = None,
        language: Language = "learned",
    ) -> None:
        super().__init__(action_size, horizon, execute, scaling)
        self._read(groups, vectors, cameras, rank=3)
        self._hear(groups, sentences, language)
        if horizon % 2 ** (len(widths) - 1):
            raise ValueError(
                f"policy {self._title()}: horizon {horizon} cannot be halved {len(widths) - 1} times, as a U-Net of "
                f"widths {list(widths)} does; choose a multiple of {2 ** (len(widths) - 1)}"
            )
        if not 1 <= steps <= LEVELS:
            raise ValueError(f"policy {self._title()}: steps must be between 1 and {LEVELS}, got {steps}")
        if steps == 1 and warm_start == "cold":
            raise ValueError(
                f"policy {self._title()}: steps=1 with warm_start=cold is one look at pure noise as if it were none, "
                "in which no network finds anything: choose warm_start=warm, which begins in the middle, or more steps"
            )
        for camera in set(cameras) & set(shifted):
            if shift >= min(self.inputs[camera].shape[1:]):
                raise ValueError(
                    f"policy {self._title()}: shift={shift} pixels move the {camera} images of "
                    f"{self.inputs[camera].shape[1:]} out of themselves; give fewer"
                )
        self.cameras, self.warm = tuple(cameras), warm_start == "warm"
        self.encoders = nn.ModuleList(
            ResNetEncoder(self.inputs[c].shape[0], features, shift if c in shifted else 0) for c in self.cameras
        )
        self.unet = ConditionalUnet1d(action_size, self.vector_size + features * len(self.cameras), widths)
        self.scheduler = ddim(steps)
        self.levels: list[int] = self.scheduler.timesteps.tolist()
        # Of a chunk that is carried out whole no plan is left.
        self.recalls = ("plan", "begins", "noise") if self.warm and execute < horizon else ("noise",)

    def chunk(self, obs: Mapping[str, Tensor], history: History) -> Tensor:
        """A sample of the next actions, normalised, in [-1, 1], (N, H, A)."""
        plan_NHA, begins_N, noise_NHA = history
        assert noise_NHA is not None
        return self.sample(plan_NHA, begins_N, noise_NHA, self.condition(obs))

    def noise(self, obs: Mapping[str, Tensor]) -> Tensor:
        """See ChunkPolicy.noise; a hash of the vectors."""
        vectors_ND = torch.cat([obs[name] for name in self.vectors], dim=1)
        noise_NF = noise_of(vectors_ND, self.horizon * self.action_size)
        return noise_NF.unflatten(1, (self.horizon, self.action_size)).to(self.dtype)

    def sample(self, plan_NHA: Tensor, begins_N: Tensor, noise_NHA: Tensor, condition_NG: Tensor) -> Tensor:
        """Normalised actions (N, H, A) from what `History` holds: cold where nothing is planned yet, else warm."""
        if not self.warm:
            return self.denoise(noise_NHA, condition_NG, self.levels)
        begins_N11 = begins_N[:, None, None]
        start_NHA = self.noised(plan_NHA.masked_fill(begins_N11, 0.0), noise_NHA, torch.tensor(WARM_LEVEL))
        if len(self.levels) == 1:
            # Level 0 is all that a cold start would know: no network finds anything in pure noise there.
            return self.denoise(start_NHA, condition_NG, [WARM_LEVEL])

        def cold(noise: Tensor, condition: Tensor, begins: Tensor, start: Tensor) -> Tensor:
            levels = [level for level in self.levels if level > WARM_LEVEL]
            return torch.where(begins, self.denoise(noise, condition, levels), start)

        given = (noise_NHA, condition_NG, begins_N11, start_NHA)
        if torch.compiler.is_exporting():
            # The branch stays one in the file: a chunk in the midst of an episode does not pay for a first one.
            start_NHA = torch.cond(begins_N.any(), cold, lambda *given: given[-1].clone(), given)
        elif on_host(begins_N).any():
            start_NHA = cold(*given)
        return self.denoise(start_NHA, condition_NG, [level for level in self.levels if level <= WARM_LEVEL])

    def denoise(self, sample_NHA: Tensor, condition_NG: Tensor, levels: Sequence[int]) -> Tensor:
        """Through these levels of noise by DDIM without randomness (eta 0): those of the grid, from high to low."""
        for level in levels:
            level_N = sample_NHA.new_full((sample_NHA.shape[0],), level)
            noise_NHA = self.unet(sample_NHA, level_N, condition_NG)
            sample_NHA = self.scheduler.step(noise_NHA, level, sample_NHA).prev_sample
        return sample_NHA

    def errors(self, obs: Mapping[str, Tensor], actions_NHA: Tensor) -> Tensor:
        """Squared errors of the noise that the network finds in noised actions of a random level, (N, H, A)."""
        clean_NHA = self.actions.normalise(actions_NHA)
        at: dict[str, Any] = {"dtype": clean_NHA.dtype, "device": clean_NHA.device}
        noise_NHA = drawn(len(clean_NHA), lambda items: torch.randn(items, *clean_NHA.shape[1:], **at))
        level_N = drawn(len(clean_NHA), lambda items: torch.randint(LEVELS, (items,), device=clean_NHA.device))
        found_NHA = self.unet(self.noised(clean_NHA, noise_NHA, level_N), level_N, self.condition(obs))
        return (found_NHA - noise_NHA).square()

    def noised(self, clean_NHA: Tensor, noise_NHA: Tensor, level: Tensor) -> Tensor:
        """sqrt(abar) clean + sqrt(1 - abar) noise, abar being what is left of the signal at this level (one, or N)."""
        kept = sent(sent(self.scheduler.alphas_cumprod, level.device)[level], clean_NHA.device).view(-1, 1, 1)
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

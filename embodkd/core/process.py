"""Processes of noise: what becomes of data x0 at each level, x_t = alpha_t x0 + sigma_t eps, and the way back.

The schedules are those of diffusers, and so are the samplers. What is noised has any shape (N, ...): pictures, chunks
of actions, points of a plane. Levels t are whole numbers, (N,) int64 or one for all, from 0, the least noise, to
levels - 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from embodkd.core.batch.whole import drawn
from embodkd.core.config.ranges import Count, OpenShare, Positive
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.transfer import sent

Prediction = Literal["epsilon", "sample", "v_prediction", "edm"]
ScoreWeight = Literal["uniform", "sigma2", "dmd"]
LossWeight = Literal["uniform", "snr", "min_snr", "edm"]


class Noised(NamedTuple):
    """Data with noise: x_t like x0, the levels t int64 (N,), and the noise eps like x0 that is in it."""

    x_t: Tensor
    t: Tensor
    eps: Tensor


@dataclass(frozen=True)
class Process:
    """A schedule of noise, and what a network says about it.

    schedule: "linear", "scaled_linear" or "squaredcos_cap_v2" keep the variance (alpha^2 + sigma^2 = 1), betas from
    beta_start to beta_end where they have them; "edm" lets it explode (alpha = 1), sigmas from sigma_min to sigma_max,
    evenly in sigma^(1 / rho) (Karras et al. 2022).
    prediction: the network gives the noise, the data, v = alpha eps - sigma x0, or, for "edm" alone, what the
    preconditioning with sigma_data makes the data of.
    """

    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "edm"] = "linear"
    levels: Count = 1000
    prediction: Prediction = "epsilon"
    beta_start: OpenShare = 1e-4
    beta_end: OpenShare = 0.02
    sigma_min: Positive = 0.002
    sigma_max: Positive = 80.0
    rho: Positive = 7.0
    sigma_data: Positive = 0.5

    def __post_init__(self) -> None:
        known = ("linear", "scaled_linear", "squaredcos_cap_v2", "edm")
        if self.schedule not in known:
            raise ValueError(f"process.schedule: {self.schedule!r} is not one of {', '.join(known)}")
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"process.prediction: {self.prediction!r} is not one of {', '.join(get_args(Prediction))}")
        if self.prediction == "edm" and self.schedule != "edm":
            raise ValueError(f"process.prediction: edm belongs to schedule=edm, not to {self.schedule}")

    def alpha(self, t: Tensor | int, like: Tensor) -> Tensor:
        """How much of the data is left at these levels, to be multiplied with `like` (N, ...)."""
        return _rows(_tables(self, like.device, like.dtype)[0], t, like)

    def sigma(self, t: Tensor | int, like: Tensor) -> Tensor:
        """How much noise there is at these levels, to be multiplied with `like` (N, ...)."""
        return _rows(_tables(self, like.device, like.dtype)[1], t, like)

    def draw(self, x0: Tensor, low: int = 0, high: int | None = None) -> Noised:
        """`x0` with noise of random levels from `low` to `high`, both included (None: the last).

        What an item gets depends on its place in the whole batch alone (see `drawn`).
        """
        last = self.levels - 1 if high is None else high
        if not 0 <= low <= last < self.levels:
            raise ValueError(f"levels {low}..{last}: must rise within 0..{self.levels - 1}")
        at: dict[str, Any] = {"dtype": x0.dtype, "device": x0.device}
        eps = drawn(len(x0), lambda items: torch.randn(items, *x0.shape[1:], **at))
        t = drawn(len(x0), lambda items: torch.randint(low, last + 1, (items,), device=x0.device))
        return Noised(self.add_noise(x0, eps, t), t, eps)

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor | int) -> Tensor:
        """x_t of data and noise."""
        return self.alpha(t, x0) * x0 + self.sigma(t, x0) * eps

    def shown(self, x_t: Tensor, t: Tensor | int) -> tuple[Tensor, Tensor]:
        """What a network is called with: its input (N, ...) and the level (N,): of "edm" scaled, and log(sigma) / 4."""
        if self.schedule == "edm":
            return _edm_input(x_t, self.sigma(t, x_t), self.sigma_data)
        level = t.to(x_t.device) if isinstance(t, Tensor) else torch.full((), t, device=x_t.device)
        return x_t, level.expand(len(x_t))

    def to_x0(self, answer: Tensor, x_t: Tensor, t: Tensor | int) -> Tensor:
        """The data that a network's answer means."""
        return self._x0(answer, x_t, self.alpha(t, x_t), self.sigma(t, x_t))

    def to_eps(self, answer: Tensor, x_t: Tensor, t: Tensor | int) -> Tensor:
        """The noise that a network's answer means."""
        if self.prediction == "epsilon":
            return answer
        return (x_t - self.alpha(t, x_t) * self.to_x0(answer, x_t, t)) / self.sigma(t, x_t)

    def to_v(self, answer: Tensor, x_t: Tensor, t: Tensor | int) -> Tensor:
        """The v that a network's answer means."""
        if self.prediction == "v_prediction":
            return answer
        x0, eps = self.to_x0(answer, x_t, t), self.to_eps(answer, x_t, t)
        return self.alpha(t, x_t) * eps - self.sigma(t, x_t) * x0

    def target(self, x0: Tensor, noised: Noised) -> Tensor:
        """What the network's answer should be. For "edm" the plain squared error of it is that of x0, weighted so."""
        x_t, t, eps = noised
        alpha, sigma = self.alpha(t, x_t), self.sigma(t, x_t)
        if self.prediction == "edm":
            skip, out = self._edm(sigma)
            return (x0 - skip * x_t) / out
        return {"epsilon": eps, "sample": x0, "v_prediction": alpha * eps - sigma * x0}[self.prediction]

    def weighting(self, t: Tensor, name: LossWeight, gamma: float = 5.0) -> Tensor:
        """Weights (N,) for the squared error of x0, float64.

        "snr" = (alpha / sigma)^2, by which it is the squared error of the noise; "min_snr" = that, at most gamma (Hang
        et al. 2023); "edm" = 1 / sigma^2 + 1 / sigma_data^2.
        """
        like = torch.empty(len(t), dtype=torch.float64, device=t.device)
        alpha, sigma = self.alpha(t, like), self.sigma(t, like)
        if name == "uniform":
            return torch.ones_like(like)
        if name == "edm":
            return sigma**-2 + self.sigma_data**-2
        if name not in ("snr", "min_snr"):
            raise ValueError(f"weighting: {name!r} is not one of {', '.join(get_args(LossWeight))}")
        snr = (alpha / sigma).square()
        return snr if name == "snr" else snr.clamp(max=gamma)

    def score(self, x0: Tensor, x_t: Tensor, t: Tensor | int) -> Tensor:
        """The gradient of the log-density at x_t by Tweedie's formula, from the mean x0 that a denoiser finds there."""
        return (self.alpha(t, x_t) * x0 - x_t) / self.sigma(t, x_t).square()

    def score_difference(
        self, x: Tensor, target_x0: Tensor, fake_x0: Tensor, t: Tensor | int, weight: ScoreWeight = "dmd"
    ) -> Tensor:
        """By which way samples x leave the distribution of the target for that of the fake, like x; no gradient.

        target_x0, fake_x0: what both denoisers make of x with noise of the levels t. "uniform": fake_x0 - target_x0;
        "sigma2": sigma^2 times the difference of scores, alpha times that; "dmd" (Yin et al. 2024): divided by the mean
        of |x - target_x0| over each sample, 0 where that is 0.
        """
        if weight not in get_args(ScoreWeight):
            raise ValueError(f"score weight: {weight!r} is not one of {', '.join(get_args(ScoreWeight))}")
        difference = (fake_x0 - target_x0).detach()
        if weight == "sigma2":
            return self.alpha(t, x) * difference
        if weight == "dmd":
            size_N = (x - target_x0).detach().abs().reshape(len(x), -1).mean(1)
            return (difference / size_N.reshape(-1, *[1] * (x.ndim - 1))).nan_to_num(0.0, 0.0, 0.0)
        return difference

    def sample(
        self,
        role: Role,
        noise: Tensor,
        batch: Signals | None = None,
        *,
        steps: int = 50,
        noisy: str = "noisy",
        level: str = "level",
    ) -> Tensor:
        """Samples like `noise` (N, ...), unit Gaussian, by `steps` calls of the role: DDIM, or Euler's way of "edm".

        The role sees `batch` (what the samples depend on) with the fields `noisy` and `level`, see `shown`; its signal
        `role.output` is the answer. The same noise gives the same samples. Both begin at the last level.
        """
        scheduler, given = self.scheduler(), batch or Signals()
        scheduler.set_timesteps(steps)
        x = noise * scheduler.init_noise_sigma
        for k, t in enumerate(scheduler.timesteps):
            if self.schedule == "edm":
                sigma = scheduler.sigmas[k].to(noise)
                seen, time = _edm_input(x, sigma, self.sigma_data)
            else:
                seen, time = self.shown(x, int(t))
            answer = role.signals(given.merge(**{noisy: seen, level: time}))[role.output]
            if self.schedule == "edm":
                scheduler.is_scale_input_called = True  # by `_edm_input`
                x0 = self._x0(answer, x, torch.ones_like(sigma), sigma)
                x = scheduler.step(answer, t, x, pred_original_sample=x0).prev_sample
            else:
                x = scheduler.step(answer, int(t), x).prev_sample
        return x

    def scheduler(self) -> Any:
        """diffusers' scheduler of these levels: DDIMScheduler, or EDMEulerScheduler. ImportError without diffusers."""
        try:
            from diffusers import DDIMScheduler, EDMEulerScheduler
        except ImportError as error:
            raise ImportError("schedules of noise need diffusers: pip install 'embodkd[diffusion]'") from error
        if self.schedule == "edm":
            return EDMEulerScheduler(
                sigma_min=self.sigma_min,
                sigma_max=self.sigma_max,
                sigma_data=self.sigma_data,
                rho=self.rho,
                num_train_timesteps=self.levels,
            )
        return DDIMScheduler(
            num_train_timesteps=self.levels,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
            beta_schedule=self.schedule,
            prediction_type=self.prediction,
            timestep_spacing="trailing",
            clip_sample=False,
        )

    def _x0(self, answer: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        if self.prediction == "sample":
            return answer
        if self.prediction == "epsilon":
            return (x_t - sigma * answer) / alpha
        if self.prediction == "v_prediction":
            return (alpha * x_t - sigma * answer) / (alpha.square() + sigma.square())
        skip, out = self._edm(sigma)
        return skip * x_t + out * answer

    def _edm(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """c_skip and c_out of Karras et al."""
        whole = sigma.square() + self.sigma_data**2
        return self.sigma_data**2 / whole, sigma * self.sigma_data / whole.sqrt()


def _edm_input(x_t: Tensor, sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """The scaled input c_in x_t and the level c_noise (N,)."""
    time_N = (sigma.log() / 4).flatten().expand(len(x_t))
    return x_t / (sigma.square() + sigma_data**2).sqrt(), time_N


def _rows(table_T: Tensor, t: Tensor | int, like: Tensor) -> Tensor:
    found = table_T[t]
    return found.reshape(-1, *[1] * (like.ndim - 1)) if found.ndim else found


@lru_cache(maxsize=64)
def _tables(process: Process, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """alpha and sigma of all levels; kept where they are used, so that an update copies nothing."""
    scheduler = process.scheduler()
    if process.schedule == "edm":
        scheduler.set_timesteps(process.levels)
        sigma = scheduler.sigmas[:-1].flip(0).double()
        alpha = torch.ones_like(sigma)
    else:
        kept = scheduler.alphas_cumprod.double()
        alpha, sigma = kept.sqrt(), (1.0 - kept).sqrt()
    return sent(alpha.to(dtype), device), sent(sigma.to(dtype), device)

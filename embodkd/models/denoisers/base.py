"""What every denoiser is: a network of noisy data and a level of noise, and the process that made the noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from embodkd.core import Process, Role, Signals
from embodkd.core.config.registry import near
from embodkd.core.process import Prediction
from embodkd.core.runs.artefact import golden_unit
from embodkd.models.base import Model

SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "edm")


class Denoiser(Model):
    """{"noisy": (N, *shape), "level": (N,), "label": (N,) if `conditional`} -> {"answer": (N, *shape)}.

    What the answer means is the process's: noise, data or v, see `Process`; `noisy` and `level` are what
    `Process.shown` gives. Data are seen as (data - centre) / spread. A subclass says what the network is in `answer`,
    whose last layer is `head`. conditional: it is told the class; the number `classes` means none of them.

    As a generator it takes `steps` network calls: several are DDIM (Euler for "edm"), one is the answer at the level
    `jump`, which None puts at the last one.
    """

    built_for = ("shape", "classes")
    judged_as = "generator"
    golden_signal = "answer"
    head: nn.Module

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        *,
        schedule: str,
        levels: int,
        prediction: Prediction,
        centre: float,
        spread: float,
        conditional: bool,
        steps: int,
        jump: int | None,
    ) -> None:
        super().__init__()
        self.shape, self.classes = tuple(shape), int(classes)
        if schedule not in SCHEDULES:
            raise ValueError(f"model denoiser: no schedule {schedule!r}: {near(schedule, SCHEDULES)}")
        self.process = Process(schedule, levels, prediction)  # type: ignore[arg-type]
        self.centre, self.spread, self.conditional, self.steps = centre, spread, conditional, steps
        self.jump = levels - 1 if jump is None else jump
        if self.jump >= levels:
            raise ValueError(f"model denoiser: jump={jump} is no level of 0..{levels - 1}")
        self.reads = ("noisy", "level", "label") if conditional else ("noisy", "level")

    def answer(self, noisy: Tensor, level_N: Tensor, label_N: Tensor | None) -> Tensor:
        """The network."""
        raise NotImplementedError

    def forward(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{"answer": (N, *shape)}."""
        label_N = seen["label"] if self.conditional else None
        return {"answer": self.answer(seen["noisy"], seen["level"], label_N)}

    def scaled(self, data: Tensor) -> Tensor:
        """As the network sees them."""
        return (data - self.centre) / self.spread

    def begun(self, noise: Tensor) -> Tensor:
        """x_t of one call, of unit noise (N, *shape)."""
        return noise * self.process.sigma(self.jump, noise) if self.process.schedule == "edm" else noise

    @torch.no_grad()
    def generate(self, noise: Tensor, label_N: Tensor | None = None) -> Tensor:
        """Samples (N, *shape) in the units of the data, a function of unit noise and of labels."""
        given = Signals() if label_N is None or not self.conditional else Signals({"label": label_N})
        role = Role(self, "frozen", output="answer")
        if self.steps == 1:
            x_t = self.begun(noise)
            noisy, level_N = self.process.shown(x_t, self.jump)
            answer = role.signals(given.merge(noisy=noisy, level=level_N))["answer"]
            x0 = self.process.to_x0(answer, x_t, self.jump)
        else:
            x0 = self.process.sample(role, noise, given, steps=self.steps)
        return self.centre + self.spread * x0

    def golden_input(self, rows: int) -> dict[str, Tensor]:
        """Noise of 0 to 1 at levels that are spread out."""
        like = next(self.parameters())
        noisy = torch.from_numpy(golden_unit((rows, *self.shape)).astype(np.float32)).to(like)
        level_N = torch.linspace(0, self.process.levels - 1, rows, device=like.device).long()
        noisy, level_N = self.process.shown(noisy, level_N)
        return {"noisy": noisy, "level": level_N, "label": torch.arange(rows, device=like.device) % self.classes}

    def golden_answer(self, logits: Tensor) -> Tensor:
        """The first numbers of each answer."""
        return logits.flatten(1)[:, :16]


def waves(level_N: Tensor, width: int, like: Tensor, longest: float = 10_000.0) -> Tensor:
    """Sines and cosines of a level, (N, width) (Vaswani et al. 2017, section 3.5)."""
    half = width // 2
    rate_H = torch.exp(-math.log(longest) * torch.arange(half, device=like.device, dtype=like.dtype) / half)
    angle_NH = level_N.to(like)[:, None] * rate_H
    return torch.cat([angle_NH.sin(), angle_NH.cos()], 1)

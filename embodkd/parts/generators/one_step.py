"""What players of diffusion see: samples of a one-step generator, with noise, and a guided denoiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core import Answers, Role, Signals, drawn
from embodkd.core.process import Noised
from embodkd.core.role import roles_of


class OneStepViews:
    """The fields of a batch and the views of it around a generator, a denoiser whose one call is a sample.

    `noise` (N, *shape) is what it begins with; each name in `times` has a level NAME_level (N,) and noise NAME_noise,
    drawn by `draw`, which is a stage's `prepare` function.
    """

    def __init__(self, generator: Any, times: Mapping[str, tuple[int, int]]) -> None:
        self.generator, self.process, self.times = generator, generator.process, dict(times)

    def draw(self, batch: Signals) -> dict[str, Tensor]:
        """Noise to begin with, and levels within `times` (both ends included) with their own."""
        at: dict[str, Any] = {"dtype": batch["input"].dtype, "device": batch.device}
        count, shape = batch.items_count, self.generator.shape

        def normal() -> Tensor:
            return drawn(count, lambda items: torch.randn(items, *shape, **at))

        found = {"noise": normal()}
        for name, (low, high) in self.times.items():
            level_N = drawn(count, partial(_levels, low, high, batch.device))
            found |= {f"{name}_level": level_N, f"{name}_noise": normal()}
        return found

    def begin(self, batch: Signals) -> dict[str, Tensor]:
        """The generator's view: noise at its level."""
        noisy, level_N = self.process.shown(self.generator.begun(batch["noise"]), self.generator.jump)
        return {**_label(batch), "noisy": noisy, "level": level_N}

    def sample(self, answer: Tensor, batch: Signals) -> Tensor:
        """x0, of the generator's answer."""
        x0: Tensor = self.process.to_x0(answer, self.generator.begun(batch["noise"]), self.generator.jump)
        return x0

    def noised(self, x0: Tensor, batch: Signals, name: str) -> Noised:
        """Samples with the noise of this name; no gradient."""
        level_N, eps = batch[f"{name}_level"], batch[f"{name}_noise"]
        return Noised(self.process.add_noise(x0.detach(), eps, level_N), level_N, eps)

    def seen(self, name: str, answer: str) -> Any:
        """A denoiser's view: samples of the generator, whose answer is the field `answer`, with the noise of `name`."""

        def view(batch: Signals) -> dict[str, Tensor]:
            x_t, level_N, _ = self.noised(self.sample(batch[answer], batch), batch, name)
            noisy, time_N = self.process.shown(x_t, level_N)
            return {**_label(batch), "noisy": noisy, "level": time_N}

        return view


class Guided:
    """`answerer` with classifier-free guidance: none + scale * (its answer for the label - for none).

    Source: Ho & Salimans 2022 (arXiv:2207.12598), eq. 6 with w = scale - 1. none: the label that means no class.
    """

    def __init__(self, answerer: Answers, scale: float, none: int) -> None:
        self.answerer, self.scale, self.none = answerer, scale, none

    def roles(self) -> Iterator[Role]:
        """Those of its answerer."""
        yield from roles_of(self.answerer)

    def signals(self, batch: Signals) -> Signals:
        """{"answer": (N, ...)}."""
        own = self.answerer.signals(batch)["answer"]
        if self.scale == 1.0:
            return Signals({"answer": own})
        free = self.answerer.signals(batch.merge(label=torch.full_like(batch["label"], self.none)))["answer"]
        return Signals({"answer": free + self.scale * (own - free)})


def denoiser(model: nn.Module, method: str, whose: str) -> Any:
    """`model`; ValueError unless it answers for noisy data at a level."""
    if not hasattr(model, "process"):
        raise ValueError(
            f"method {method}: the {whose} must be a denoiser, got a {type(model).__name__}; choose model=denoiser"
        )
    return model


def _levels(low: int, high: int, device: torch.device, items: int) -> Tensor:
    return torch.randint(low, high + 1, (items,), device=device)


def _label(batch: Signals) -> dict[str, Tensor]:
    return {"label": batch["label"]} if "label" in batch else {}

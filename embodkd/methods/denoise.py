"""Denoising (Ho et al., NeurIPS 2020): the teacher of diffusion distillation learns to tell noise from data.

Equation, x0 a picture, t a level drawn evenly, eps unit noise, x_t = alpha_t x0 + sigma_t eps:
    loss = mean over the elements of (answer(x_t, t) - target)^2,
the target being eps, x0 or v as the model's process says; of "edm" what makes it the weighted error of x0 (Karras et
al. 2022, eq. 8). With a class to be told, it is left out for a share of the items, so that it can be guided.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embodkd.core import Budget, Player, Recipe, Role, Signals, Splits, Teachers, drawn, squared_error
from embodkd.core.config.ranges import Share
from embodkd.methods import METHODS
from embodkd.parts.generators.one_step import denoiser


@METHODS.register(
    "denoise",
    domain="vision",
    needs="splits",
    family="diffusion",
    paper="arXiv:2006.11239",
    title="Denoising (diffusion training)",
)
@dataclass(frozen=True)
class Denoise:
    """drop_label: the share of the items that a conditional model is told no class of."""

    drop_label: Share = 0.1

    def recipe(self, student: nn.Module, teachers: Teachers, data: Splits, *, seed: int = 0, budget: Budget) -> Recipe:
        """One stage; a teacher, if there is one, is not asked."""
        model = denoiser(student, "denoise", "student")

        def noised(batch: Signals) -> dict[str, Tensor]:
            x0 = model.scaled(batch["input"])
            found = model.process.draw(x0)
            noisy, level_N = model.process.shown(found.x_t, found.t)
            told = {"noisy": noisy, "level": level_N, "target": model.process.target(x0, found)}
            if not model.conditional:
                return told
            coin_N = drawn(len(x0), lambda items: torch.rand(items, device=x0.device))
            return {**told, "label": torch.where(coin_N < self.drop_label, model.classes, batch["label"])}

        def terms(batch: Signals, s: Signals) -> dict[str, Tensor]:
            return {"denoise": squared_error(s["answer"].flatten(1), batch["target"].flatten(1))}

        return budget.fit(Player(Role(model), terms, optimiser=budget.optimiser), data.train, prepare=(noised,))

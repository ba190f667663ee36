"""Adversarial inputs: signed gradient steps against a model within a small box, and how well a model resists them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor, nn

from embodkd.core.batch.whole import drawn
from embodkd.core.recipe import Prepare
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source
from embodkd.core.terms import cross_entropy
from embodkd.core.transfer import on_host, sent

Goal = Callable[[Signals, Signals], Tensor]
"""What an attack climbs: (batch, signals of the attacked model) -> one value per item, (N,)."""


def mislabel(batch: Signals, s: Signals) -> Tensor:
    """The goal of an attack that knows the labels: cross-entropy."""
    return cross_entropy(s.logits_NC, batch.label_N)


# foolbox 3.3.4 takes the same steps to the bit, but cannot start from 0.001 * N(0, 1) and brings GitPython and
# requests; torchattacks pins requests 2.25. The arithmetic is one line of the loop below.
@dataclass(frozen=True)
class PGD:
    """Projected gradient ascent in the L-infinity ball (Madry et al., ICLR 2018, section 2.1).

    x <- clip(x + step_size * sign(d goal / d x)) `steps` times; clip keeps |x - clean| <= epsilon and low <= x <= high.
    start: from the clean input plus 0.001 * N(0, 1) ("normal"), uniform in the ball ("uniform"), or as it is ("clean").
    steps=1, step_size=epsilon, start="clean" is FGSM.
    """

    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    steps: int = 10
    start: Literal["normal", "uniform", "clean"] = "normal"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.epsilon < 0 or self.step_size < 0 or self.steps < 1 or self.low >= self.high:
            raise ValueError(f"an attack needs epsilon >= 0, step_size >= 0, steps >= 1 and low < high; got {self}")
        if self.start not in ("normal", "uniform", "clean"):
            raise ValueError(f"attack.start: {self.start!r} is not one of normal, uniform, clean")

    def __call__(self, role: Role, batch: Signals, goal: Goal = mislabel, generator: Generator | None = None) -> Tensor:
        """Adversarial inputs for the batch's field `input`, detached; (N, ...) -> (N, ...).

        role: the model under attack, a "passthrough" role (evaluation mode; neither parameters nor their gradients
        change). The start is drawn on the CPU from `generator`, or from torch's global one.
        """
        clean = batch["input"]
        known = on_host(clean)
        if known.min() < self.low or known.max() > self.high:
            found = f"{float(known.min()):g} to {float(known.max()):g}"
            raise ValueError(
                f"attack: inputs go from {found}, outside {self.low:g}..{self.high:g}; give images in that range and "
                "normalise inside the model, or set the range"
            )
        least, most = (clean - self.epsilon).clamp(min=self.low), (clean + self.epsilon).clamp(max=self.high)
        x = clean + self._start(clean, generator)
        for _ in range(self.steps):
            x = x.detach().requires_grad_()
            attacked = batch.merge(input=x)
            (slope,) = torch.autograd.grad(goal(attacked, role.signals(attacked)).sum(), x)
            x = torch.maximum(torch.minimum(x.detach() + self.step_size * slope.sign(), most), least)
        return x.detach()

    def _start(self, clean: Tensor, generator: Generator | None) -> Tensor:
        if self.start == "clean":
            return torch.zeros_like(clean)
        kind, shape = torch.randn if self.start == "normal" else torch.rand, clean.shape[1:]
        noise = drawn(len(clean), lambda items: kind(items, *shape, generator=generator, dtype=clean.dtype))
        noise = 0.001 * noise if self.start == "normal" else self.epsilon * (2.0 * noise - 1.0)
        return sent(noise, clean.device)


def against(attack: PGD, model: nn.Module, goal: Goal = mislabel, name: str = "adversarial") -> Prepare:
    """A stage's `prepare` function: the field `name` holds inputs that fool `model` as it is now."""
    role = Role(model, "passthrough")

    def prepare(batch: Signals) -> dict[str, Tensor]:
        return {name: attack(role, batch, goal)}

    return prepare


def robust_accuracy(
    model: nn.Module, source: Source, attack: PGD, *, seed: int = 0, batch_size: int = 512, goal: Goal = mislabel
) -> float:
    """Percent of the items still classified right under `attack`, whose starts derive from `seed`."""
    role, device = Role(model, "passthrough"), next(model.parameters()).device
    generator, right = torch.Generator().manual_seed(seed), 0
    for start in range(0, source.size(), batch_size):
        index = np.arange(start, min(start + batch_size, source.size()))
        batch = source.gather(index, 0).to(device)
        fooled = batch.merge(input=attack(role, batch, goal, generator))
        with torch.no_grad():
            right += int((role.signals(fooled).logits_NC.argmax(1) == batch.label_N).sum())
    return 100.0 * right / source.size()

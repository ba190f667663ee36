"""How a player's parameters move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from embodkd.core.config.ranges import NotNegative, Part, Positive, Share
from embodkd.core.weights.schedule import Schedule, WeightCurve, schedule


@dataclass(frozen=True)
class Optimiser:
    """How a player's parameters move.

    learning_rate may be a schedule over the stage's updates; max_grad_norm clips the player's whole gradient
    (None: no clipping). `momentum` belongs to "sgd", `betas` and `eps` to the other two:
    ValueError for one that would not count.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: WeightCurve = 1e-3
    weight_decay: NotNegative = 0.0
    betas: tuple[Part, Part] = (0.9, 0.999)
    eps: Positive = 1e-8
    momentum: Share = 0.9
    max_grad_norm: Positive | None = None

    def __post_init__(self) -> None:
        if self.name not in ("adam", "adamw", "sgd"):
            raise ValueError(f"optimiser.name: {self.name!r} is not one of adam, adamw, sgd")
        if self.rate().start < 0:
            raise ValueError(f"optimiser.learning_rate: must be at least 0, got {self.rate().start}")
        for key, whose in {"momentum": ("sgd",), "betas": ("adam", "adamw"), "eps": ("adam", "adamw")}.items():
            if self.name not in whose and getattr(self, key) != getattr(Optimiser, key):
                raise ValueError(
                    f"optimiser.{key}: {getattr(self, key)} would not count: optimiser.name is {self.name}, and "
                    f"{' and '.join(whose)} alone have it; leave it out, or choose another name"
                )

    def rate(self) -> Schedule:
        """The learning rate as a schedule."""
        return schedule(self.learning_rate, "optimiser.learning_rate")

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """The torch optimiser over `parameters`."""
        rate, decay = self.rate().start, self.weight_decay
        if self.name == "sgd":
            return torch.optim.SGD(parameters, lr=rate, momentum=self.momentum, weight_decay=decay)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        # One kernel for all parameters: on the CPU the default loops over them in Python.
        return kind(parameters, lr=rate, betas=self.betas, eps=self.eps, weight_decay=decay, fused=True)

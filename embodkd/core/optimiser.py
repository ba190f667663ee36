"""How a player's parameters move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn

from embodkd.core.config.ranges import NotNegative, Part, Positive, Share, Some
from embodkd.core.modules.depths import depths
from embodkd.core.sharded import is_sharded
from embodkd.core.weights.schedule import Schedule, WeightCurve, schedule


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that move otherwise than the rest: those whose names `pattern` fits ("head.*", "*.lora_?").

    rate multiplies the learning rate, and may be a schedule over the stage's updates; weight_decay None is that of the
    optimiser.
    """

    pattern: str
    rate: WeightCurve = 1.0
    weight_decay: NotNegative | None = None

    def __post_init__(self) -> None:
        if min(self.curve().numbers()) < 0:
            raise ValueError(f"optimiser.groups: the rate of {self.pattern!r} must be at least 0, got {self.rate}")

    def curve(self) -> Schedule:
        """Its factor on the learning rate as a schedule."""
        return schedule(self.rate, f"optimiser.groups: rate of {self.pattern!r}")


@dataclass(frozen=True)
class Bundle:
    """Names of parameters that move alike: at `scale` times `rate` times the learning rate, with this decay."""

    names: tuple[str, ...]
    rate: Schedule
    scale: float
    weight_decay: float

    def factor(self, step: int, total: int) -> float:
        """What multiplies the learning rate of update `step` of `total`."""
        return self.scale * self.rate.at(step, total)

    def by_kind(self, named: Mapping[str, nn.Parameter]) -> list[Bundle]:
        """In two where some of its parameters lie in parts on several processes: a kernel takes those or whole ones."""
        kinds = [[name for name in self.names if is_sharded(named[name]) is kind] for kind in (False, True)]
        return [replace(self, names=tuple(own)) for own in kinds if own]


@dataclass(frozen=True)
class Optimiser:
    """How a player's parameters move.

    learning_rate may be a schedule over the stage's updates; max_grad_norm clips the player's whole gradient
    (None: no clipping). `momentum` belongs to "sgd", `betas` and `eps` to the other two:
    ValueError for one that would not count.
    groups: the first one whose pattern fits a parameter's name counts for it; helpers are called "helper.NAME.".
    layer_decay: the learning rate times this for each block between a parameter and the output (see `depths`).
    decay_biases: false takes the weight decay from parameters of fewer than two axes (biases, norms), whatever group.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: WeightCurve = 1e-3
    weight_decay: NotNegative = 0.0
    betas: tuple[Part, Part] = (0.9, 0.999)
    eps: Positive = 1e-8
    momentum: Share = 0.9
    max_grad_norm: Positive | None = None
    groups: tuple[ParameterGroup, ...] = ()
    layer_decay: Some = 1.0
    decay_biases: bool = True

    def __post_init__(self) -> None:
        if self.name not in ("adam", "adamw", "sgd"):
            raise ValueError(f"optimiser.name: {self.name!r} is not one of adam, adamw, sgd")
        if self.rate().start < 0:
            raise ValueError(f"optimiser.learning_rate: must be at least 0, got {self.rate().start}")
        if not 0.0 < self.layer_decay <= 1.0:
            raise ValueError(f"optimiser.layer_decay: must be above 0 and at most 1, got {self.layer_decay}")
        for key, whose in {"momentum": ("sgd",), "betas": ("adam", "adamw"), "eps": ("adam", "adamw")}.items():
            if self.name not in whose and getattr(self, key) != getattr(Optimiser, key):
                raise ValueError(
                    f"optimiser.{key}: {getattr(self, key)} would not count: optimiser.name is {self.name}, and "
                    f"{' and '.join(whose)} alone have it; leave it out, or choose another name"
                )

    def rate(self) -> Schedule:
        """The learning rate as a schedule."""
        return schedule(self.learning_rate, "optimiser.learning_rate")

    def bundles(self, named: Mapping[str, nn.Parameter], names: Iterable[str] = ()) -> list[Bundle]:
        """The parameters `named` in bundles that move alike, in order of their first members.

        names: of all parameters there are, in the model's order: depths are counted in them, and a pattern may be for
        some that do not learn now. ValueError for a pattern that fits none of them.
        """
        everything = list(dict.fromkeys([*names, *named]))
        for group in self.groups:
            if not any(fnmatchcase(name, group.pattern) for name in everything):
                # not all names: a model has hundreds
                nearest = get_close_matches(group.pattern.replace("*", ""), everything, n=5, cutoff=0.0)
                raise ValueError(
                    f"optimiser.groups: {group.pattern!r} fits none of {len(everything)} parameters; "
                    f"the nearest are {', '.join(nearest)}"
                )
        below = depths(everything) if self.layer_decay < 1.0 else dict.fromkeys(everything, 0)
        found: dict[tuple[int | None, int, float], list[str]] = {}
        for name, parameter in named.items():
            place = next((k for k, group in enumerate(self.groups) if fnmatchcase(name, group.pattern)), None)
            decay = self.weight_decay if place is None else self.groups[place].weight_decay
            decay = self.weight_decay if decay is None else decay
            if not self.decay_biases and parameter.ndim < 2:
                decay = 0.0
            found.setdefault((place, below[name], decay), []).append(name)
        return [
            Bundle(tuple(own), Schedule() if k is None else self.groups[k].curve(), self.layer_decay**deep, decay)
            for (k, deep, decay), own in found.items()
        ]

    def build(
        self, named: Mapping[str, nn.Parameter], bundles: Iterable[Bundle] | None = None
    ) -> torch.optim.Optimizer:
        """The torch optimiser over `named`, with a group of parameters for each of the `bundles` (by default its own).

        Rates are the caller's to set: that of update 0 counts until then.
        """
        rate = self.rate().start
        groups: list[dict[str, Any]] = [
            {"params": [named[name] for name in bundle.names], "weight_decay": bundle.weight_decay}
            for bundle in (self.bundles(named) if bundles is None else bundles)
        ]
        if self.name == "sgd":
            # on a card the fused one, which can be stopped there; on the CPU it is no faster
            on_card = any(parameter.device.type != "cpu" for parameter in named.values())
            return torch.optim.SGD(groups, lr=rate, momentum=self.momentum, fused=on_card or None)
        kind = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        # One kernel for all parameters: on the CPU the default loops over them in Python.
        return kind(groups, lr=rate, betas=self.betas, eps=self.eps, fused=True)

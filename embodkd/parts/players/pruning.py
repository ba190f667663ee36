"""A stage in which gates are learned: they are opened before it, and fused into the student behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from embodkd.core import Context, Gated, Optimiser, ParameterGroup, Schedule, fuse, inherit
from embodkd.parts.players.sparsity import Multipliers

OPEN = 10.0
"""The logit of a gate that is open, and -OPEN of one that is shut."""


class Opened:
    """The gated network has the weights of `source`, in the leading places if that one is smaller; gates are open there
    and shut beyond. The price begins anew."""

    def __init__(self, gated: Gated, source: Any, multipliers: Multipliers, price: float) -> None:
        self.gated, self.source, self.multipliers, self.price = gated, source, multipliers, price

    @torch.no_grad()
    def __call__(self, context: Context) -> None:
        """Take the weights over."""
        inherit(self.gated.model, self.source, beyond="zeros")
        self.multipliers.restart(self.price)
        places = self.source.gate_places()
        for name, gate in self.gated.hard_concrete():
            gate.logits.fill_(OPEN)
            gate.logits[places[name].size(self.source) :] = -OPEN


class Fused:
    """`student` becomes the gated network without what is shut; on the `probe`, fields of items, both answer alike."""

    def __init__(self, student: Any, gated: Gated, probe: Mapping[str, Tensor]) -> None:
        self.student, self.gated, self.probe = student, gated, probe

    def __call__(self, context: Context) -> dict[str, float]:
        """Fuse; the share of the gated network's parameters that is gone."""
        like = next(self.gated.parameters())
        x = {name: value.to(like if value.is_floating_point() else like.device) for name, value in self.probe.items()}
        small: Any = fuse(self.gated, probe=lambda model: model(x))
        self.student.take_pruned(dict(small.named_parameters()))
        self.student.load_state_dict(small.state_dict())
        left, whole = (sum(p.numel() for p in model.parameters()) for model in (small, self.gated.model))
        return {"share_gone": 1.0 - left / whole}


def with_gates(optimiser: Optimiser, gate_rate: float, updates: int) -> Optimiser:
    """`optimiser` for a gated network: gates move at `gate_rate`, without decay; the others' rate climbs to its own
    over all `updates` of the stage. ValueError for one that has groups already."""
    if optimiser.groups or optimiser.layer_decay < 1.0:
        raise ValueError("optimiser: gates make groups of their own; leave groups and layer_decay out")
    rate = Schedule(start=optimiser.rate().start / gate_rate, warmup=updates)
    groups = (ParameterGroup("gates.*", weight_decay=0.0), ParameterGroup("model.*", rate=rate))
    return replace(optimiser, learning_rate=gate_rate, groups=groups)

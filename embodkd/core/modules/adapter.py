"""A low-rank adapter on linear layers (LoRA): added it changes nothing, learned it moves little, merged it is gone.

peft has many more kinds, but renames what it adapts (`base_layer.weight`) and saves in a format of its own; here the
adapted layer keeps its names, so that checkpoints of the plain model load, and it takes ten lines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embodkd.core.modules.identity import Probe, unmoved
from embodkd.core.modules.swap import exchange, matching


class Adapted(nn.Linear):
    """x W^T + b + scale * (x down^T) up^T, with down (rank, in) and up (out, rank); up begins as zeros."""

    down: nn.Parameter
    up: nn.Parameter
    scale: float

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return super().forward(input) + self.scale * F.linear(F.linear(input, self.down), self.up)


def adapt(
    model: nn.Module,
    patterns: str | Sequence[str],
    rank: int,
    *,
    alpha: float | None = None,
    freeze: bool = True,
    seed: int = 0,
    probe: Probe | None = None,
) -> list[str]:
    """Adapt the linear layers whose names match a pattern, in place; the names of the new parameters.

    alpha: the adapter counts alpha / rank; rank unless said. freeze: all other parameters of the model stop learning.
    Nothing has changed yet, not in a bit: asserted on the probe. Weights of the plain model load with strict=False.
    """
    if rank < 1:
        raise ValueError(f"an adapter needs a rank of at least 1, got {rank}")
    names = [n for n in matching(model, patterns, nn.Linear) if not isinstance(model.get_submodule(n), Adapted)]
    draws = torch.Generator().manual_seed(seed)

    def adapted(module: nn.Module) -> nn.Module:
        assert isinstance(module, nn.Linear)
        if type(module) is not nn.Linear:
            raise ValueError(f"only plain linear layers are adapted, not a {type(module).__name__}")
        fresh = Adapted.__new__(Adapted)
        fresh.__dict__.update(module.__dict__)
        fresh._parameters = dict(module._parameters)
        fresh.scale = 1.0 if alpha is None else alpha / rank
        bound = 1.0 / math.sqrt(module.in_features)
        down = torch.empty(rank, module.in_features).uniform_(-bound, bound, generator=draws)
        fresh.down = nn.Parameter(down.to(module.weight))
        fresh.up = nn.Parameter(module.weight.new_zeros(module.out_features, rank))
        return fresh

    with unmoved(model, probe, 0.0, "adapt"):
        if freeze:
            model.requires_grad_(False)
        exchange(model, names, adapted)
    return [f"{name}.{part}" for name in names for part in ("down", "up")]


def merge(model: nn.Module, *, probe: Probe | None = None, tolerance: float = 1e-6) -> nn.Module:
    """Fold every adapter into its layer's weight and make the layer plain again, in place; the model.

    The answer moves by rounding only: asserted on the probe, relative to its largest magnitude.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, Adapted)]

    @torch.no_grad()
    def plain(module: nn.Module) -> nn.Module:
        assert isinstance(module, Adapted)
        fresh = nn.Linear.__new__(nn.Linear)
        fresh.__dict__.update({k: v for k, v in module.__dict__.items() if k != "scale"})
        fresh._parameters = {k: v for k, v in module._parameters.items() if k not in ("down", "up")}
        module.weight += module.scale * (module.up @ module.down)
        return fresh

    with unmoved(model, probe, tolerance, "merge"):
        exchange(model, names, plain)
    return model

"""A network like a given one, but untrained: for two that learn side by side from the beginning."""

from __future__ import annotations

import copy

from torch import nn

from embodkd.core.rng import seeded


def fresh_copy(model: nn.Module, *key: int) -> nn.Module:
    """A copy of `model` whose parameters all learn and start from new random weights that depend on `key` alone.

    Every layer is reset as torch resets it (`reset_parameters`), batch statistics included. ValueError if a layer with
    parameters of its own cannot do that.
    """
    made = copy.deepcopy(model).requires_grad_(True)
    with seeded(*key):
        for name, module in made.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                raise ValueError(
                    f"{type(model).__name__}: {name or 'it'} ({type(module).__name__}) has weights but no "
                    "reset_parameters(), so it cannot start anew; give an untrained network and let that one learn"
                )
    return made

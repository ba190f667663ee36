"""What an optimiser remembers of its parameters (moments), when parameters come and go or a stage ends."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.engine.state import Moments, load_slots
from embodkd.core.modules.growing import origins, taken


def carried(former: Moments, parameters: Iterable[nn.Parameter]) -> dict[Tensor, dict[str, Any]]:
    """What `former` says of each of `parameters`: of itself, or row by row of the one that it was made of.

    New rows have zeros; what is no row's (the number of steps) stays. Of parameters that it does not know it says
    nothing, and what it knows of others is forgotten.
    """
    found: dict[Tensor, dict[str, Any]] = {}
    for parameter in parameters:
        if parameter in former:
            found[parameter] = dict(former[parameter])
            continue
        known = [(origin, rows) for origin, rows in origins(parameter) if origin in former]
        if known:
            origin, rows_N = known[0]
            found[parameter] = {
                name: taken(value, rows_N) if isinstance(value, Tensor) and value.shape == origin.shape else value
                for name, value in former[origin].items()
            }
    return found


def give(optimiser: torch.optim.Optimizer, moments: Moments) -> None:
    """Let `optimiser` remember `moments` of those of its parameters that they speak of."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    load_slots(optimiser, {place: moments[p] for place, p in enumerate(parameters) if p in moments})

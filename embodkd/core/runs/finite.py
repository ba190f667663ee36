"""Nothing that is not finite is written over what is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from embodkd.core.sharded import here

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def first_not_finite(tensors: Mapping[str, Tensor | np.ndarray]) -> str | None:
    """The name of the first of `tensors` that holds a NaN or an infinity; None if there is none.

    Of a tensor that lies in parts on several processes, the part that is here is looked at.
    """
    import torch

    for name, value in tensors.items():
        tensor = here(torch.as_tensor(value).detach())
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name
    return None


def no_checkpoint_of(name: str, step: int, run: Path) -> FloatingPointError:
    """What to raise where a checkpoint would hold `name`, which is not finite."""
    return FloatingPointError(
        f"{run}: {name} is not finite after update {step}; no checkpoint of it was written, the one before is intact; "
        "start another run with a lower learning rate, or clip the gradient"
    )

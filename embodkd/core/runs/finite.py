"""Nothing that is not finite is written over what is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def first_not_finite(tensors: Mapping[str, Tensor | np.ndarray]) -> str | None:
    """The name of the first of `tensors` that holds a NaN or an infinity; None if there is none."""
    import torch

    for name, value in tensors.items():
        tensor = torch.as_tensor(value).detach()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name
    return None

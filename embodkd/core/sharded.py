"""Tensors of which each process holds a part (torch's DTensor), told apart without importing what makes them."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_sharded(value: Any) -> bool:
    """Whether this process holds a part of it only; its shape is that of the whole."""
    return hasattr(value, "device_mesh")


def here(value: Tensor) -> Tensor:
    """The part that is here, on the same memory; all of what is not shared out."""
    return value.to_local() if is_sharded(value) else value  # type: ignore[attr-defined] # DTensor's


def cut_as(value: Tensor, like: Tensor) -> Tensor:
    """`value`, which every process has whole, shared out as `like` is; as it is where nothing is to be cut."""
    if not is_sharded(like) or is_sharded(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    # No source: each process cuts its own.
    parts: Any = like
    return distribute_tensor(value.to(parts.device), parts.device_mesh, parts.placements, src_data_rank=None)

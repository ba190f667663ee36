"""What a checkpoint holds of models that lie in parts, and which tensor each of its names stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.engine.state import named, pack_modules, places
from embodkd.core.ranks import Ranks
from embodkd.core.runs.checkpoint import Checkpoint
from embodkd.core.runs.shards import read_shards, write_shards
from embodkd.core.sharded import here, is_sharded


def apart(
    tensors: Mapping[str, Tensor], step: int, ranks: Ranks
) -> tuple[dict[str, Tensor], Callable[[Path | None], None] | None]:
    """Those that are whole here, and how to write, with the other processes, those of which each holds a part, if any.

    step: of the checkpoint; see `write_shards`.
    """
    whole: dict[str, Tensor] = {}
    parts: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in tensors.items():
        if not is_sharded(value):
            whole[name] = value
            continue
        # safetensors refuses two names on one memory (tied weights)
        address = here(value).untyped_storage().data_ptr()
        parts[name] = value.detach().clone() if address in seen else value
        seen.add(address)
    return whole, partial(write_shards, parts=parts, step=step, ranks=ranks) if parts else None


def of_modules(checkpoint: Checkpoint, modules: Sequence[nn.Module]) -> Mapping[str, Any]:
    """The checkpoint's tensors, and of those in its shards what belongs to models and what is kept of them."""
    if checkpoint.shards is None:
        return checkpoint.tensors
    own, parameters = pack_modules(modules), named(modules)

    def like(name: str) -> Tensor | None:
        if name in own:
            return own[name]
        return parameters.get(name.split(".", 2)[-1].rpartition(".")[0])  # moments.K.PARAMETER.slot

    return {**checkpoint.tensors, **read_shards(checkpoint.shards, like, "model.", "moments.")}


def of_optimisers(checkpoint: Checkpoint, optimisers: Sequence[torch.optim.Optimizer]) -> Mapping[str, Any]:
    """The checkpoint's tensors, and of those in its shards what belongs to optimisers."""
    if checkpoint.shards is None:
        return checkpoint.tensors
    standing = [
        dict(zip(places(each), (p for group in each.param_groups for p in group["params"]), strict=True))
        for each in optimisers
    ]

    def like(name: str) -> Tensor | None:
        _, number, place, _ = name.split(".", 3)  # optimiser.K.PLACE.slot
        return standing[int(number)][int(place)]

    return {**checkpoint.tensors, **read_shards(checkpoint.shards, like, "optimiser.")}

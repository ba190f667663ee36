"""What holds after every surgery on a module: on a probe that the caller gives, it still answers as it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.modules.modes import evaluating

# `lambda model: model(batch)`: the answer of a model to a batch that the caller chose
Probe = Callable[[nn.Module], Any]


@contextmanager
def unmoved(model: nn.Module, probe: Probe | None, tolerance: float, what: str) -> Iterator[None]:
    """The answer of `model` to the probe is the same after the block, see `require_same`; no probe, no check.

    A model that is found to answer otherwise stays changed, and the AssertionError says by how much.
    """
    before = answer(model, probe)
    yield
    require_same(before, answer(model, probe), tolerance, what)


def answer(model: nn.Module, probe: Probe | None) -> list[Tensor]:
    """The tensors of the answer to the probe, in evaluation mode and without gradient; none without a probe."""
    if probe is None:
        return []
    with torch.no_grad(), evaluating(model):
        # cloned: a part of the model may be handed out, and change
        found = [tensor.clone() for tensor in _tensors(probe(model))]
    if not found:
        raise ValueError("the probe's answer holds no tensor: give probe=lambda model: model(batch)")
    return found


def require_same(before: list[Tensor], after: list[Tensor], tolerance: float, what: str) -> None:
    """AssertionError with the numbers unless all differences are at most `tolerance` * max(1, largest magnitude)."""
    assert len(before) == len(after), f"{what}: the answer had {len(before)} tensors and has {len(after)} now"
    for old, new in zip(before, after, strict=True):
        assert old.shape == new.shape, f"{what}: the answer had shape {tuple(old.shape)} and has {tuple(new.shape)} now"
        if torch.equal(old, new):
            continue
        moved = (old - new).abs().max().item()
        limit = tolerance * max(1.0, old.abs().max().item())
        # not <=: a difference that is no number is no agreement
        assert moved <= limit, f"{what}: the answer moved by {moved:.3g}, more than {limit:.3g}"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _tensors(member)
    elif isinstance(value, (tuple, list)):
        for member in value:
            yield from _tensors(member)

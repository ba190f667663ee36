"""Spans of consecutive blocks replaced by another module, permanently or for the length of a pass."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from embodkd.core.modules.identity import Probe, answer, require_same
from embodkd.core.modules.places import submodule

# (first, last), both included, and counted from zero
Ends = tuple[int, int]


class Skip(nn.Module):
    """A block that gives back what it is given, whatever it is told besides."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """x."""
        return x


class Shift(nn.Module):
    """A block that adds the same vector everywhere: what a residual block is whose inner part is constant."""

    def __init__(self, vector: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(vector)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """x + bias, (..., D)."""
        return x + self.bias


class LinearMap(nn.Module):
    """A residual linear map x + W x + b of width D, zero at first: a skip that can learn."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(width, width)
        nn.init.zeros_(self.map.weight)
        nn.init.zeros_(self.map.bias)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., D) to (..., D)."""
        mapped: Tensor = x + self.map(x)
        return mapped


class Chain(nn.Module):
    """Blocks in a row, each told the same besides: the span itself."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """What the last block gives."""
        for block in self.blocks:
            x = block(x, *args, **kwargs)
        return x


@contextmanager
def spans_replaced(model: nn.Module, stack: str, instead: Mapping[Ends, nn.Module]) -> Iterator[None]:
    """While open, the first block of each span in the list `stack` is `instead`, and the others are skipped.

    Names, numbers and modules are afterwards as before.
    """
    blocks = _blocks(model, stack, list(instead))
    former = dict(blocks._modules)
    try:
        for ends, module in instead.items():
            _put(blocks, ends, module)
        yield
    finally:
        blocks._modules.update(former)


def replace_spans(
    model: nn.Module, stack: str, instead: Mapping[Ends, nn.Module], *, probe: Probe | None = None
) -> nn.Module:
    """A copy of the model with the spans replaced for good; numbers of the other blocks stay, skipped ones are empty.

    stack: the name of the list of blocks. Every block is called with one thing that changes, its first argument, and
    gives it: on the probe it is asserted, in every bit, that each span put in its own place (`Chain`) changes nothing.
    """
    blocks = list(_blocks(model, stack, list(instead)))
    if probe is not None:
        before = answer(model, probe)
        for first, last in instead:
            with spans_replaced(model, stack, {(first, last): Chain(*blocks[first : last + 1])}):
                require_same(before, answer(model, probe), 0.0, f"span {first} to {last} of {stack!r} in its own place")
    changed = copy.deepcopy(model)
    copied = _blocks(changed, stack, list(instead))
    for ends, module in instead.items():
        _put(copied, ends, module)
    return changed


class Spanned(nn.Module):
    """A model with replacements of some spans at hand; `on` says which are in place, none at first.

    All off, it is the model in every bit; `state_dict` has the model's names below `model.` whatever is on, and the
    replacements' below `instead.FIRST-LAST.`. `replace_spans` makes the choice final.
    """

    def __init__(
        self, model: nn.Module, stack: str, instead: Mapping[Ends, nn.Module], *, probe: Probe | None = None
    ) -> None:
        super().__init__()
        self.model, self.stack = model, stack
        self.instead = nn.ModuleDict({f"{first}-{last}": module for (first, last), module in instead.items()})
        self.on: set[Ends] = set()
        self._ends = {ends: f"{ends[0]}-{ends[1]}" for ends in instead}
        _blocks(model, stack, list(instead))
        if probe is not None:
            require_same(answer(model, probe), answer(self, probe), 0.0, "spans, all off")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's answer with the spans that are on replaced."""
        with spans_replaced(self.model, self.stack, self.chosen()):
            return self.model(*args, **kwargs)

    def chosen(self) -> dict[Ends, nn.Module]:
        """The replacements that are on."""
        if not self.on <= set(self._ends):
            raise ValueError(f"there is no replacement of {sorted(self.on - set(self._ends))}: {sorted(self._ends)}")
        return {ends: self.instead[name] for ends, name in self._ends.items() if ends in self.on}


def _blocks(model: nn.Module, stack: str, spans: Sequence[Ends]) -> nn.ModuleList | nn.Sequential:
    blocks = submodule(model, stack)
    if not isinstance(blocks, (nn.ModuleList, nn.Sequential)):
        raise ValueError(f"{stack!r} is a {type(blocks).__name__}, not a list of blocks")
    free = 0
    for first, last in sorted(spans):
        if not free <= first <= last < len(blocks):
            raise ValueError(
                f"a span ({first}, {last}) in {stack!r} of {len(blocks)} blocks: spans lie in order, 0 to "
                f"{len(blocks) - 1}, and do not overlap"
            )
        free = last + 1
    return blocks


def _put(blocks: nn.ModuleList | nn.Sequential, ends: Ends, module: nn.Module) -> None:
    names = list(blocks._modules)
    for name in names[ends[0] : ends[1] + 1]:
        blocks._modules[name] = module if name == names[ends[0]] else Skip()

"""Submodules exchanged by name, everywhere where they occur, and found by pattern."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from torch import nn

from embodkd.core.config.registry import near


def matching(
    model: nn.Module, patterns: str | Sequence[str], kind: type[nn.Module] | tuple[type[nn.Module], ...]
) -> list[str]:
    """The names of submodules of this kind in which one of the regular expressions is found.

    ValueError for a pattern that is found in none.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, kind) and name]
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in wanted:
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(f"no submodule to change has a name like {pattern!r}: {near(pattern, names)}")
    return [name for name in names if any(re.search(pattern, name) for pattern in wanted)]


def exchange(model: nn.Module, names: Sequence[str], new: Callable[[nn.Module], nn.Module]) -> None:
    """Put new(module) in the place of each named submodule, in its mode, wherever else the model holds it too."""
    for name in names:
        old = model.get_submodule(name)
        fresh = new(old).train(old.training)
        for holder in model.modules():
            for at, child in holder._modules.items():
                if child is old:
                    holder._modules[at] = fresh

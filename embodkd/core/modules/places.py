"""Places: the tensor in what a submodule is given or gives, and the same thing with another tensor in that place."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from torch import Tensor, nn

from embodkd.core.config.registry import near

Place = tuple[Tensor, Callable[[Tensor], Any]]
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def submodule(model: nn.Module, name: str) -> nn.Module:
    """The submodule with the dotted `name`; ValueError with the nearest names otherwise."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = [n for n, _ in model.named_modules() if n]
        raise ValueError(f"{type(model).__name__} has no submodule {name!r}: {near(name, known)}") from None


def inputs(module: nn.Module, name: str, where: str) -> list[str]:
    """The positional inputs of a module's forward pass in order; ValueError where it has no input `name` at all."""
    parameters = inspect.signature(module.forward).parameters.values()
    if all(p.name != name and p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters):
        known = near(name, [p.name for p in parameters])
        raise ValueError(f"{where}: a {type(module).__name__} has no input {name!r}: {known}")
    return [p.name for p in parameters if p.kind in _POSITIONAL]


def in_call(args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str | None, order: list[str], where: str) -> Any:
    """An input of a call, by name or the first by position, and how to make the call with another: (value, put)."""
    if name is None:
        if not args:
            raise ValueError(f"{where}: it is called by keyword only; name the input, one of {', '.join(kwargs)}")
        return args[0], lambda new: ((new, *args[1:]), kwargs)
    if name in kwargs:
        return kwargs[name], lambda new: (args, {**kwargs, name: new})
    at = order.index(name) if name in order else len(args)
    if at >= len(args):
        raise ValueError(f"{where}: this call does not give the input {name!r}")
    return args[at], lambda new: ((*args[:at], new, *args[at + 1 :]), kwargs)


def within(value: Any, part: int | str | None, where: str) -> Place:
    """The tensor that `value` is, begins with, or has as its `part`, and `value` with another one in that place."""
    if part is None and isinstance(value, Tensor):
        return value, lambda new: new
    if isinstance(value, (tuple, list)) and not isinstance(part, str):
        at = part or 0
        if -len(value) <= at < len(value) and isinstance(value[at], Tensor):
            return value[at], lambda new: _sequence(value, at % len(value), new)
    elif isinstance(value, Mapping) and part is not None:
        if isinstance(value.get(part), Tensor):
            return value[part], lambda new: _mapping(value, part, new)
        raise ValueError(f"{where}: there is no tensor {part!r}, but {', '.join(map(str, value))}")
    what = "a tensor" if part is None else f"anything with a tensor as its part {part!r}"
    raise ValueError(f"{where}: the module gives a {type(value).__name__}, not {what}; tap a part of it")


def _sequence(value: Any, at: int, new: Tensor) -> Any:
    members = [*value[:at], new, *value[at + 1 :]]
    # A named tuple takes its members one by one.
    return type(value)(*members) if hasattr(value, "_fields") else type(value)(members)


def _mapping(value: Mapping[Any, Any], part: int | str, new: Tensor) -> Any:
    if not isinstance(value, MutableMapping):
        return {**value, part: new}
    changed = copy.copy(value)
    changed[part] = new
    return changed

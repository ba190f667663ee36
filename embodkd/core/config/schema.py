"""From a config mapping to an object: the constructor is the schema, a wrong key is an error."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from embodkd.core.config.ranges import Within
from embodkd.core.config.registry import near

Built = TypeVar("Built")
_SIMPLE = (bool, int, float, str)


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword parameters that `target` (a class or function) accepts, by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n: p for n, p in inspect.signature(target).parameters.items() if p.kind in kinds}


def build(target: Callable[..., Built], mapping: Mapping[str, Any] | None, where: str, **given: Any) -> Built:
    """Call `target` with the keys of `mapping` and with `given`, after checking both against its signature.

    `where` is the path that the user would edit ("method", "configs/task/peg_hole.yaml"); it opens every message.
    `given` are arguments that the program supplies; a mapping may not set them. A mapping's int is accepted where a
    float is asked for, a list where a tuple is. Raises ValueError for a key that is unknown, missing, of another type
    or out of its range.
    """
    return target(**checked(target, mapping, where, **given))


def checked(target: Callable[..., Any], mapping: Mapping[str, Any] | None, where: str, **given: Any) -> dict[str, Any]:
    """The arguments that `build` would call `target` with, for who wants to know before what is wrong with them."""
    mapping = {} if mapping is None else dict(mapping)
    known = parameters(target)
    title = getattr(target, "__name__", repr(target))
    free = [n for n in known if n not in given]
    for key in mapping:
        if key in given:
            raise ValueError(f"{where}.{key}: this value is set by the program, remove it from the config")
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r} for {title}; {near(key, free)}")
    hints = _hints(target)
    values = {key: _checked(value, hints.get(key), f"{where}.{key}") for key, value in mapping.items()}
    empty = inspect.Parameter.empty
    missing = [n for n, p in known.items() if p.default is empty and n not in values and n not in given]
    if missing:
        raise ValueError(f"{where}: {title} needs {', '.join(repr(m) for m in missing)}; add it to the config")
    return {**values, **given}


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    source = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(source, include_extras=True)
    except NameError:
        # A name imported under TYPE_CHECKING only: such a parameter is not a simple type, so nothing to check.
        return {}


def _checked(value: Any, hint: Any, where: str) -> Any:
    if hint is None or hint is Any:
        return value
    ok, converted = _fit(value, hint)
    if not ok and _fit(value, hint, ranged=False)[0]:
        raise ValueError(f"{where}: must be {_spell(hint)}, got {value!r}")
    if not ok:
        raise ValueError(f"{where}: {value!r} is a {type(value).__name__}, expected {_spell(hint)}")
    return converted


def _fit(value: Any, hint: Any, ranged: bool = True) -> tuple[bool, Any]:
    """(does `value` fit `hint`, the value to pass on). Hints beyond the simple ones are not judged, nor are ranges if
    not `ranged`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return value is None, value
    if origin is typing.Annotated:
        ok, converted = _fit(value, args[0], ranged)
        within = all(converted in each for each in args[1:] if isinstance(each, Within)) if ok and ranged else True
        return ok and within, converted
    if origin in (typing.Union, types.UnionType):
        results = [_fit(value, a, ranged) for a in args]
        # An exact member wins, so that `int | float` keeps 3 an int.
        exact = [r for r, a in zip(results, args, strict=True) if r[0] and isinstance(a, type) and type(value) is a]
        good = exact or [r for r in results if r[0]]
        return (True, good[0][1]) if good else (False, value)
    if origin is typing.Literal:
        return value in args, value
    if hint is bool or hint is str:
        return isinstance(value, hint), value
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    if hint is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number, float(value) if number else value
    if origin is tuple or hint is tuple:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            return False, value
        return _fit_tuple(tuple(value), args, ranged)
    if origin is list or hint is list:
        return isinstance(value, (list, tuple)), value
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        return isinstance(value, Mapping), value
    return True, value


def _fit_tuple(value: tuple[Any, ...], args: tuple[Any, ...], ranged: bool) -> tuple[bool, Any]:
    if not args:
        return True, value
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        return False, value
    parts = [_fit(v, a, ranged) for v, a in zip(value, args, strict=True)]
    return all(ok for ok, _ in parts), tuple(v for _, v in parts)


def _spell(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return " ".join([_spell(args[0]), *map(str, args[1:])])
    if origin in (typing.Union, types.UnionType):
        return " | ".join("None" if a is type(None) else _spell(a) for a in args)
    if origin is tuple:
        return f"tuple[{', '.join('...' if a is Ellipsis else _spell(a) for a in args)}]"
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    return hint.__name__ if hint in _SIMPLE else str(hint).replace("typing.", "").replace("NoneType", "None")

"""From a config mapping to an object: the constructor is the schema, a wrong key is an error."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from embodkd.core.config.ranges import LARGEST, Within
from embodkd.core.config.registry import near

Built = TypeVar("Built")


@dataclass(frozen=True)
class Keys:
    """As part of a mapping's type: its entries are the keywords of `target`, "module:attribute", less those `given`.

    named: the entry `name`, or `usual` where it is left out, says which: `target` is a function of it that gives the
    constructor. The module is imported when there is something to check: whoever only reads the type pays nothing.
    """

    target: str
    given: tuple[str, ...] = ()
    named: bool = False
    usual: str | None = None

    def constructor(self, mapping: Mapping[str, Any], where: str) -> Callable[..., Any]:
        """Whose keywords the entries of `mapping` are."""
        module, _, attribute = self.target.partition(":")
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        if not self.named:
            return typing.cast(Callable[..., Any], found)
        name = mapping.get("name", self.usual)
        if not isinstance(name, str):
            raise ValueError(f"{where}: lacks its name, or it is no text: {name!r}")
        return typing.cast(Callable[..., Any], found(name))

    def check(self, mapping: Mapping[str, Any], where: str) -> None:
        """ValueError unless the constructor takes these entries."""
        target = self.constructor(mapping, where)
        own = {key: value for key, value in mapping.items() if key != "name" or not self.named}
        checked(target, own, where, **dict.fromkeys(self.given))


def parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The keyword parameters that `target` (a class or function) accepts, by name (read-only)."""
    return _parameters(target)


@cache
def _parameters(target: Any) -> Mapping[str, inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = inspect.signature(target).parameters
    return types.MappingProxyType({n: p for n, p in known.items() if p.kind in kinds})


def build(target: Callable[..., Built], mapping: Mapping[str, Any] | None, where: str, **given: Any) -> Built:
    """Call `target` with the keys of `mapping` and with `given`, after checking both against its signature.

    `where` is the path that the user would edit ("method", "configs/task/peg_hole.yaml", "" for a top); it opens every
    message. `given` are arguments that the program supplies; a mapping may not set them. A mapping's int is accepted
    where a float is asked for, a list where a tuple is, a mapping where a dataclass is. Raises ValueError for a key
    that is unknown, missing, of another type or out of its range.
    """
    return target(**checked(target, mapping, where, **given))


def checked(target: Callable[..., Any], mapping: Mapping[str, Any] | None, where: str, **given: Any) -> dict[str, Any]:
    """The arguments that `build` would call `target` with, for who wants to know before what is wrong with them."""
    title = getattr(target, "__name__", repr(target))
    if mapping is not None and not isinstance(mapping, Mapping):
        raise ValueError(f"{where or title}: {_short(mapping)} is a {type(mapping).__name__}, expected keys and values")
    mapping = {} if mapping is None else dict(mapping)
    known = parameters(target)
    free = [n for n in known if n not in given]
    for key in mapping:
        if key in given:
            raise ValueError(f"{_at(where, key)}: this value is set by the program, remove it from the config")
        if key not in known:
            raise ValueError(f"{where or title}: unknown key {key!r} for {title}; {near(key, free)}")
    hints = hints_of(target)
    values = {key: conform(value, hints.get(key), _at(where, key)) for key, value in mapping.items()}
    empty = inspect.Parameter.empty
    missing = [n for n, p in known.items() if p.default is empty and n not in values and n not in given]
    if missing:
        wanted = ", ".join(repr(m) for m in missing)
        raise ValueError(f"{where or title}: {title} needs {wanted}; add it to the config")
    return {**values, **given}


def hints_of(target: Callable[..., Any]) -> Mapping[str, Any]:
    """The types of the parameters of `target`; one whose name is imported for type checking only is left out."""
    return _hints(target)


@cache
def _hints(target: Any) -> Mapping[str, Any]:
    if dataclasses.is_dataclass(target):
        # A field's type is written in the module of the class that has it, not always in that of `target`.
        ancestors = reversed(typing.cast(type, target).__mro__)
        owners = [(c.__dict__.get("__annotations__", {}), vars(sys.modules[c.__module__])) for c in ancestors]
    else:
        function = target.__init__ if inspect.isclass(target) else target
        owners = [(function.__annotations__, getattr(function, "__globals__", {}))]
    known = parameters(target)
    return types.MappingProxyType(
        {
            name: hint
            for annotations, names in owners
            for name, hint in _resolved({n: a for n, a in annotations.items() if n in known}, names)
        }
    )


def _resolved(annotations: Mapping[str, Any], names: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, annotation in annotations.items():
        holder = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            yield from typing.get_type_hints(holder, globalns=names, include_extras=True).items()
        except NameError:
            continue


def conform(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint` wants it; ValueError if it is of another type or out of a range.

    An entry of a list or mapping is named behind `where`. Types beyond those that a config or a file can hold are not
    judged.
    """
    if hint is None or hint is Any:
        return value
    if hint is type(value) and hint in (str, bool, int, float):  # most of what files hold
        return _number(value, hint, where) if hint in (int, float) else value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(value, hint, where)
    if origin in (typing.Union, types.UnionType):
        return _one_of(value, hint, where)
    if not _is_of_kind(value, hint):
        raise _other_type(value, hint, where)
    if hint is int or hint is float:
        return _number(value, hint, where)
    if origin in (list, Sequence):
        return [conform(entry, args[0], f"{where}[{k}]") for k, entry in enumerate(value)]
    if origin is tuple:
        return _tuple(tuple(value), hint, where)
    if origin in (dict, Mapping) and len(args) == 2:
        return {key: conform(entry, args[1], _at(where, key)) for key, entry in value.items()}
    if typing.is_typeddict(hint):
        return _entries(value, hint, where)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(typing.cast(Callable[..., Any], hint), value, where)
    return tuple(value) if hint is tuple else value


def spell(hint: Any) -> str:
    """A type in words: `int of at least 1 | None`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return " ".join([spell(args[0]), *(str(part) for part in args[1:] if isinstance(part, Within))])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(spell, args))
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(a) for a in args)
    if hint is type(None):
        return "None"
    if origin in (list, Sequence, tuple, dict, Mapping):
        name = "dict" if origin is Mapping else "list" if origin is Sequence else origin.__name__
        return f"{name}[{', '.join('...' if a is Ellipsis else spell(a) for a in args)}]"
    return "dict" if hint is Mapping else getattr(hint, "__name__", str(hint))


def _is_of_kind(value: Any, hint: Any) -> bool:
    """Whether `value` is what `hint` is on its outside: a list for a tuple of anything."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _is_of_kind(value, typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return any(_is_of_kind(value, member) for member in typing.get_args(hint))
    if origin is typing.Literal:
        return any(value == each and type(value) is type(each) for each in typing.get_args(hint))
    if hint is type(None):
        return value is None
    if hint is int or hint is float:
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    plain = origin or hint
    if plain in (tuple, list, Sequence):
        return isinstance(value, (list, tuple))
    if plain in (dict, Mapping) or typing.is_typeddict(plain):
        return isinstance(value, Mapping)
    if dataclasses.is_dataclass(plain):
        return isinstance(value, (Mapping, typing.cast(type, plain)))
    return not isinstance(plain, type) or isinstance(value, plain)


def _annotated(value: Any, hint: Any, where: str) -> Any:
    inner, *parts = typing.get_args(hint)
    if not _is_of_kind(value, inner):
        raise _other_type(value, hint, where)
    converted = conform(value, inner, where)
    for part in parts:
        if isinstance(part, Within) and converted is not None and converted not in part:
            raise ValueError(f"{where}: must be {spell(hint)}, got {_short(value)}")
        if isinstance(part, Keys) and isinstance(converted, Mapping):
            part.check(converted, where)
    return converted


def _one_of(value: Any, hint: Any, where: str) -> Any:
    members = typing.get_args(hint)
    if type(value) in (str, bool, float) and type(value) in members:
        return conform(value, type(value), where)
    # An exact member wins, so that `int | float` keeps 3 an int.
    fitting = sorted((m for m in members if _is_of_kind(value, m)), key=lambda m: m is not type(value))
    if not fitting:
        raise _other_type(value, hint, where)
    for member in fitting[:-1]:
        try:
            return conform(value, member, where)
        except ValueError:
            continue
    return conform(value, fitting[-1], where)


def _other_type(value: Any, hint: Any, where: str) -> ValueError:
    return ValueError(f"{where}: {_short(value)} is a {type(value).__name__}, expected {spell(hint)}")


def _number(value: int | float, hint: type, where: str) -> int | float:
    if isinstance(value, int) and abs(value) > LARGEST and hint is int:
        raise ValueError(f"{where}: {value} is too large: whole numbers here end at {LARGEST}")
    try:
        number: int | float = hint(value)
    except OverflowError as error:
        raise ValueError(f"{where}: {str(value)[:12]}... is too large a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{where}: must be a finite number, got {value!r}")
    return number


def _tuple(value: tuple[Any, ...], hint: Any, where: str) -> tuple[Any, ...]:
    args = typing.get_args(hint)
    if len(args) == 2 and args[1] is Ellipsis:
        args = (args[0],) * len(value)
    if len(args) != len(value):
        raise ValueError(f"{where}: must have {len(args)} entries, got {list(value)!r}")
    return tuple(conform(v, a, f"{where}[{k}]") for k, (v, a) in enumerate(zip(value, args, strict=True)))


def _entries(value: Mapping[str, Any], hint: Any, where: str) -> dict[str, Any]:
    """A TypedDict's keys are there and fit; others stay as they are."""
    absent = sorted(hint.__required_keys__ - value.keys())
    if absent:
        raise ValueError(f"{where}: lacks {', '.join(absent)}")
    hints = _entry_types(hint)
    return {key: conform(entry, hints.get(key), _at(where, key)) for key, entry in value.items()}


@functools.cache
def _entry_types(hint: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(hint, include_extras=True)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _at(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)

"""Every key of every verb with its type: what the tests of ranges, of help and of nonsense run over."""

from __future__ import annotations

import importlib
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from embodkd.cli.keys import Config, comments, options
from embodkd.cli.verbs import VERBS, Verb
from embodkd.core.config.ranges import Within
from embodkd.core.config.schema import Keys, hints_of

CONFIGURED = tuple(verb for verb in VERBS if verb.config is not None)


@dataclass(frozen=True)
class Key:
    """One key of a verb under a choice ("method", "nkd"), or None where it stands in the verb's own file."""

    verb: Verb
    name: str
    hint: Any
    choice: tuple[str, str] | None = None

    def __str__(self) -> str:
        chosen = f" {self.choice[0]}={self.choice[1]}" if self.choice else ""
        return f"{self.verb.shown}{chosen} {self.name}"


def function_of(verb: Verb) -> Callable[..., Any]:
    """What a verb calls."""
    module, _, name = verb.function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


@cache
def plain(verb: Verb, choice: tuple[str, str] | None = None) -> dict[str, Any]:
    """The resolved config of a verb with its usual choices but this one, as Hydra composes it."""
    config = Config(str(verb.config))
    found: dict[str, Any] = dict(config.top())
    for group, option in config.groups(dict([choice]) if choice else None).items():
        if option is not None:
            found[group] = dict(config.option(group, option))
    resolved: Any = OmegaConf.to_container(OmegaConf.create(found), resolve=True)
    return dict(resolved)


@cache
def every_key() -> tuple[Key, ...]:
    """All keys; those of a group's options once per constructor, under the first verb and option that have them."""
    found: dict[tuple[Any, ...], Key] = {}
    for verb in CONFIGURED:
        config = Config(str(verb.config))
        choices = [(group, option) for group in config.groups() for option in options(group)]
        for choice in [None, *choices]:
            whose = verb.shown if choice is None else _constructor(verb, choice)
            for key in _keys_of(verb, choice):
                found.setdefault((whose, key.name), key)
    return tuple(found.values())


def _constructor(verb: Verb, choice: tuple[str, str]) -> Callable[..., Any]:
    found = constructor_of(hints_of(function_of(verb))[choice[0]], plain(verb, choice)[choice[0]])
    assert found is not None
    return found


def _keys_of(verb: Verb, choice: tuple[str, str] | None) -> Iterator[Key]:
    config, mapping = Config(str(verb.config)), plain(verb, choice)
    function, groups = function_of(verb), Config(str(verb.config)).groups()
    for name, value in mapping.items():
        if choice is None and name in groups or choice is not None and name != choice[0]:
            continue
        hint = hints_of(function).get(name)
        for dotted, inner in inside(name, value, hint):
            if not dotted.endswith(".name") or dotted == "optimiser.name":
                yield Key(verb, dotted, inner, choice)
    assert config.file.exists()


def inside(name: str, value: Any, hint: Any) -> Iterator[tuple[str, Any]]:
    """(key, its type), through the mappings whose keys a constructor knows."""
    constructor = constructor_of(hint, value)
    if constructor is None or not isinstance(value, Mapping):
        yield name, hint
        return
    hints = hints_of(constructor)
    for key, inner in value.items():
        yield from inside(f"{name}.{key}", inner, hints.get(key))


def constructor_of(hint: Any, value: Any) -> Callable[..., Any] | None:
    """Whose keywords the entries of a mapping of this type are; None for any other type."""
    for part in parts(hint):
        if isinstance(part, Keys) and isinstance(value, Mapping):
            return part.constructor(value, "test")
        if is_dataclass(part) and isinstance(value, Mapping) and isinstance(part, type):
            return part
    return None


def parts(hint: Any) -> Iterator[Any]:
    """A type, what annotates it and the members of a union, through all of these."""
    yield hint
    if typing.get_origin(hint) is typing.Annotated:
        inner, *marks = typing.get_args(hint)
        yield from marks
        yield from parts(inner)
    elif typing.get_origin(hint) not in (None, tuple, list, dict, Mapping, typing.Literal):
        for member in typing.get_args(hint):
            yield from parts(member)


def mark(hint: Any) -> str:
    """What stands in brackets behind a key's comment: the range of its numbers, "text" or "texts"; "" for neither."""
    found = list(parts(hint))
    ranges = [part.short for part in found if isinstance(part, Within)]
    inner = [mark(entry) for part in found for entry in _entries(part)]
    texts = ["text"] if str in found else []
    said = dict.fromkeys([*ranges, *texts, *("texts" if each == "text" else each for each in inner if each)])
    return ", ".join(said)


def _entries(hint: Any) -> tuple[Any, ...]:
    """The types of what a list, a tuple or a mapping holds."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (dict, Mapping):
        return args[1:]
    return tuple(a for a in args if a is not Ellipsis) if origin in (tuple, list) else ()


def of_files() -> Iterator[tuple[Any, str, Any]]:
    """(file, key in it, its type): each file of configs once, with every key that has a line of its own."""
    done = set()
    for verb in CONFIGURED:
        config = Config(str(verb.config))
        for choice in [None, *((group, option) for group in config.groups() for option in options(group))]:
            file = config.file if choice is None else config.option_file(*choice)
            if file in done:
                continue
            done.add(file)
            mapping = plain(verb, choice)
            hints = hints_of(function_of(verb))
            if choice is not None:
                constructor = constructor_of(hints[choice[0]], mapping[choice[0]])
                assert constructor is not None
                mapping, hints = mapping[choice[0]], hints_of(constructor)
            for key in comments(file):
                if key.partition(".")[0] in hints:
                    yield file, key, _at(key.split("."), mapping, hints)


def _at(path: list[str], mapping: Mapping[str, Any], hints: Mapping[str, Any]) -> Any:
    first, *rest = path
    if not rest:
        return hints[first]
    constructor = constructor_of(hints[first], mapping[first])
    assert constructor is not None, path
    return _at(rest, mapping[first], hints_of(constructor))

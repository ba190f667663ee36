"""Every key of every verb: its range is declared, help says it, and nonsense is one clear line or a thing that runs."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
from every_key import CONFIGURED, Key, every_key, function_of, mark, of_files, plain
from hydra.core.override_parser.overrides_parser import OverridesParser

from embodkd.cli.compose import resolved
from embodkd.cli.errors import Refused
from embodkd.cli.keys import comments
from embodkd.cli.overrides import parse
from embodkd.core.config.ranges import Within
from embodkd.core.config.schema import checked, spell

NONSENSE = ("-1", "0", "nan", "inf", str(2**64), "", "words", "[1,two]")
MORE = ("-inf", "1.5", "true", "null", "{a: 1}", "1e400", "9" * 400, "[[]]", "'1'")


def test_every_number_has_a_range() -> None:
    bare = [f"{key}: {spell(key.hint)}" for key in every_key() if list(_bare(key.hint))]
    untyped = [str(key) for key in every_key() if key.hint in (None, Any)]
    assert len(every_key()) > 500 and not bare and not untyped


def _bare(hint: Any, ranged: bool = False) -> Iterator[Any]:
    """The numbers in a type that no range bounds."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in (int, float) and not ranged:
        yield hint
    elif origin is typing.Annotated:
        yield from _bare(args[0], ranged or any(isinstance(part, Within) for part in args[1:]))
    elif origin is not typing.Literal:
        for inner in args:
            yield from _bare(inner, ranged)


def test_help_says_of_each_key_what_the_schema_holds_it_to() -> None:
    said = {(str(file), key): comments(file)[key] for file, key, _ in of_files()}
    wrong = []
    for file, key, hint in of_files():
        wanted, comment = mark(hint), said[str(file), key]
        there = comment.rpartition("[")[2].removesuffix("]") if comment.endswith("]") else ""
        if there != wanted:
            wrong.append(f"{file.parent.name}/{file.name} {key}: [{there}] there, [{wanted}] is right")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("verb", CONFIGURED, ids=lambda verb: verb.shown)
def test_what_these_tests_assemble_is_what_hydra_composes(verb) -> None:
    given = f"{verb.given}=digits" if verb.given == "data" else ""
    function, composed = resolved(f"{verb.title} {given} {' '.join(f'{key}=x' for key in verb.needs)}")
    assert function == verb.function
    assert composed == {**plain(verb), **dict.fromkeys(verb.needs, "x")}


def test_the_usual_config_of_every_choice_fits() -> None:
    for key in {(k.verb.shown, k.choice): k for k in every_key()}.values():
        checked(function_of(key.verb), plain(key.verb, key.choice), "")


def test_nonsense_on_every_key_is_one_line_that_names_the_key_or_fits_it(count_case: Callable[..., None]) -> None:
    _try_on_every_key(NONSENSE)
    count_case("nonsense on keys", len(NONSENSE) * len(every_key()))


@pytest.mark.faults
def test_more_nonsense(count_case: Callable[..., None]) -> None:
    _try_on_every_key(MORE)
    count_case("nonsense on keys", len(MORE) * len(every_key()))


def _try_on_every_key(texts: Sequence[str]) -> None:
    for key in every_key():
        for text in texts:
            try:
                value = _read(key, text)
                config = _with(plain(key.verb, key.choice), key.name.split("."), value)
                _make(key, config)
            except ValueError as error:
                assert key.name.rpartition(".")[2] in str(error), f"{key}={text}: {error}"
                assert "\n" not in str(error)
            else:
                assert not _is_nonsense(key, value), f"{key}={text} passed"


def _make(key: Key, config: dict[str, Any]) -> None:
    """What happens to a config before a verb opens, reads or writes anything."""
    function = function_of(key.verb)
    words = checked(function, config, "")
    if isinstance(function, type):
        function(**words)


def _read(key: Key, text: str) -> Any:
    choice = [] if key.choice is None else [f"{key.choice[0]}={key.choice[1]}"]
    needs = [f"{name}=x" for name in key.verb.needs if name != key.name]
    try:
        words = parse(key.verb, [*choice, *needs, f"{key.name}={text}"])
    except Refused as error:
        raise AssertionError(f"{key}={text}: {error}") from error
    if key.name in words.aside:
        return words.aside[key.name]
    return _value(words.overrides[-1].partition("=")[2])


@cache
def _value(text: str) -> Any:
    (override,) = OverridesParser.create().parse_overrides([f"key={text}"])
    return override.value()


def _with(config: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    changed = dict(config)
    first, *rest = path
    changed[first] = _with(changed[first], rest, value) if rest else value
    return changed


def _is_nonsense(key: Key, value: Any) -> bool:
    """Whether a value must not pass where a number is asked for."""
    numbers = [each for each in mark(key.hint).split(", ") if each and each not in ("text", "texts")]
    if not numbers or value is None:
        return False
    if isinstance(value, (bool, str)):
        return "text" not in mark(key.hint) and not isinstance(value, bool)
    return isinstance(value, float) and not math.isfinite(value)

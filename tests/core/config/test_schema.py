"""The constructor is the schema: right mappings build, wrong ones say where, what and the nearest key."""

from dataclasses import dataclass
from typing import Literal

import pytest

from embodkd.core.config.schema import build


@dataclass(frozen=True)
class Options:
    rounds: int
    learning_rate: float = 1e-3
    hidden: tuple[int, ...] = (256, 256)
    order: Literal["fast", "slow"] = "fast"
    limit: int | None = None
    name: str = "x"
    flag: bool = False


def test_builds_and_keeps_defaults():
    built = build(Options, {"rounds": 3, "hidden": [8, 8], "limit": 4}, "method")
    assert built == Options(3, hidden=(8, 8), limit=4)


def test_an_int_serves_as_a_float_and_becomes_one():
    assert isinstance(build(Options, {"rounds": 1, "learning_rate": 1}, "method").learning_rate, float)


def test_functions_have_schemas_too():
    def make(a: int, *, b: str = "q", **rest: int) -> tuple[int, str]:
        return a, b

    assert build(make, {"b": "z"}, "here", a=1) == (1, "z")


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"rounds": 1, "learnin_rate": 1.0},
            r"method: unknown key 'learnin_rate' for Options; did you mean 'learning_rate'",
        ),
        ({}, "method: Options needs 'rounds'"),
        ({"rounds": 1.5}, r"method.rounds: 1.5 is a float, expected int"),
        ({"rounds": True}, "method.rounds: True is a bool"),
        ({"rounds": 1, "name": 3}, "method.name: 3 is a int, expected str"),
        ({"rounds": 1, "flag": "yes"}, "method.flag"),
        ({"rounds": 1, "hidden": "256"}, "method.hidden"),
        ({"rounds": 1, "hidden": ["a"]}, "method.hidden"),
        ({"rounds": 1, "order": "medium"}, "one of 'fast', 'slow'"),
        ({"rounds": 1, "limit": "no"}, "method.limit"),
        (None, "needs 'rounds'"),
    ],
)
def test_mistakes_are_named(mapping, message):
    with pytest.raises(ValueError, match=message):
        build(Options, mapping, "method")


def test_what_the_program_gives_cannot_be_configured():
    with pytest.raises(ValueError, match="set by the program"):
        build(Options, {"rounds": 1}, "method", rounds=2)

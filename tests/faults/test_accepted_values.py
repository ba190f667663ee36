"""Nonsense that fits a key's type is carried out: every number of a command at its ends, at -1, 0 and 2^64, to its end.

Either the command runs or it says in one line what is wrong, and a refused one leaves nothing. Left out are the upper
ends of whole numbers above 16 (copies, episodes, widths, pixels, threads, horizons: hours, or more memory than there
is); of what a whole number can be, 2^64 is refused by every key.
"""

from __future__ import annotations

import math
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from every_key import inside, parts
from places import CLONE, DIGITS, PPO, QUIET, Places
from test_matrix import seen

from embodkd.cli import compose
from embodkd.cli.overrides import Words
from embodkd.cli.verbs import Verb
from embodkd.core.config.ranges import Within
from embodkd.core.config.schema import build, hints_of

# name -> (part of the places, its words)
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "ppo": ("teacher", ["train", "teacher", *PPO, "evaluate_episodes=2", "run=runs/new"]),
    "digits": ("digits", ["train", "teacher", *DIGITS, "model=mlp", "model.hidden=[4]", "run=runs/new"]),
    "kd": ("digits", ["distill", "student", *DIGITS, "model=mlp", "model.hidden=[4]", "method=kd",
                      "teacher=runs/digits", "run=runs/new"]),
    "clone": ("clone", [*CLONE, "run=runs/new"]),
    "dagger": ("teacher", ["distill", "student", "teacher=runs/teacher", "student=blind", "num_envs=2",
                           "method.rounds=1", "method.steps=2", "episodes=0", *QUIET, "run=runs/new"]),
    "residual": ("clone", ["train", "residual", "base=runs/clone", "transfer=true", "steps=400", "td3.num_envs=2",
                           "td3.every=64", "td3.warmup=128", "td3.critic_warmup=128", "evaluate_episodes=2",
                           "episodes=0", *QUIET, "run=runs/new"]),
    "evaluate": ("teacher", ["evaluate", "policy=runs/teacher", "episodes=1", "copies=1", *QUIET, "out=new.json"]),
}  # fmt: skip
SHARES = 12  # tests of a command
LONG = 16
# a training that began and blew up says so, and keeps its run folder
BLOWN_UP = re.compile("finite|diverged")


def _tried(name: str) -> Iterator[tuple[str, int | float]]:
    """(key, value) of all keys of a command that take a number."""
    _, plain = _composed(name)
    hints = hints_of(_made_by(name))
    for group, value in plain.items():
        for key, hint in inside(group, value, hints.get(group)):
            yield from ((key, number) for number in _numbers(hint))


def _numbers(hint: Any) -> list[int | float]:
    found = list(parts(hint))
    kinds = {part for part in found if part in (int, float)}
    if not kinds:
        return []
    ends = {end for part in found if isinstance(part, Within) for end in (part.low, part.high) if math.isfinite(end)}
    values = dict.fromkeys((-1, 0, 2**64, *sorted(ends)))
    if kinds == {int}:
        return [int(value) for value in values if value <= LONG or value == 2**64]
    return list(values)


_COMPOSED: dict[str, tuple[str, dict[str, Any]]] = {}


def _composed(name: str) -> tuple[str, dict[str, Any]]:
    """(function, config) of a command; Hydra takes longer than all the rest."""
    if name not in _COMPOSED:
        _COMPOSED[name] = compose.resolved(shlex.join(COMMANDS[name][1]))
    function, plain = _COMPOSED[name]
    return function, deepcopy(plain)


def _made_by(name: str) -> Callable[..., Any]:
    module, _, function = _composed(name)[0].partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


def _changed(config: dict[str, Any], path: list[str], value: Any) -> None:
    *groups, last = path
    for group in groups:
        config = config[group]
    config[last] = value


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("name", COMMANDS)
def test_a_number_that_fits_its_key_is_carried_out_or_refused_in_one_line(
    name: str, share: int, embodkd, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count_case
) -> None:
    part, words = COMMANDS[name]
    places.copy(part, tmp_path)
    before = seen(tmp_path)
    given: list[tuple[str, int | float]] = []

    def run(verb: Verb, words: Words) -> int:
        (key, value), (_, config) = given[-1], _composed(name)
        _changed(config, key.split("."), value)
        made = build(_made_by(name), config, "")
        return (made() if callable(made) else made) or 0

    monkeypatch.setattr(compose, "run", run)
    wrong = []
    for key, value in islice(_tried(name), share, None, SHARES):
        given.append((key, value))
        shown = f"{key}={value}"
        try:
            answer = embodkd(*words)
        except (Exception, SystemExit) as error:
            wrong.append(f"{shown}: {error!r}")
            answer = None
        new = sorted(path for path, mark in seen(tmp_path).items() if before.get(path) != mark)
        if answer is not None:
            if answer.code not in (0, 2) or "Traceback" in answer.err:
                wrong.append(f"{shown}: {answer}")
            elif answer.code == 2 and (answer.err.count("\n") != 1 or not answer.err.startswith("embodkd: ")):
                wrong.append(f"{shown}: {answer.err}")
            elif answer.code == 2 and new and not BLOWN_UP.search(answer.err):
                wrong.append(f"{shown}: left {new[:3]}: {answer.err}")
        for path in ("runs/new", "new.json"):
            shutil.rmtree(tmp_path / path, ignore_errors=True)
            if (tmp_path / path).is_file():
                (tmp_path / path).unlink()
        assert seen(tmp_path) == before, f"{shown} changed what was there"
    count_case("numbers carried out", len(given))
    assert not wrong, "\n".join(wrong)

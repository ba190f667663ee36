"""A fingerprint follows what a thing is, and nothing else: no use of it, no process, no order of a dictionary."""

import os
import subprocess
import sys
import types
from functools import partial

import numpy as np
import pytest
import torch
from every_network import NAMES, trunk_and_batch
from known_things import __file__ as known_file
from known_things import known

from embodkd.core import Role
from embodkd.core.fingerprint import RowDigest, digest


def test_it_is_the_same_in_another_process():
    command, surroundings = [sys.executable, known_file], {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=surroundings)
    assert found.stdout.strip() == known()


@pytest.mark.parametrize("name", NAMES)
def test_every_model_and_policy_has_one_that_outlives_a_pass_and_a_rebuilding(name):
    model, batch = trunk_and_batch(name)
    role = Role(model, "frozen")
    before = role.fingerprint()
    role.signals(batch)
    assert role.fingerprint() == before == Role(trunk_and_batch(name)[0], "frozen").fingerprint()
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    after = role.fingerprint()
    assert {part for part in before if after[part] != before[part]} == {"weights"}


def add(a, b=1):
    return a + b


def add_two(a, b=2):
    return a + b


class Adder:
    step = 1

    def __init__(self, by=1):
        self.by = by

    def __call__(self, a):
        return self._moved(a)

    def _moved(self, a):
        return a + self.by

    def unrelated(self):
        return "no part of an answer"


def of_source(source, name="f"):
    module = types.ModuleType("written")
    exec(source, module.__dict__)
    return module.__dict__[name]


PAIRS = [
    (1, 1.0),
    (1, True),
    ("1", 1),
    ([1, 2], [2, 1]),
    ([[1], 2], [1, [2]]),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, [("a", 1)]),
    (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    (torch.zeros(2), torch.zeros(2, 1)),
    (np.zeros(3), np.ones(3)),
    (add, add_two),
    (partial(add, b=1), partial(add, b=2)),
    (Adder(), Adder(2)),
    (Adder().__call__, Adder(2).__call__),
    (torch.relu, torch.tanh),
    (of_source("def f(x): return x + 1"), of_source("def f(x): return x + 2")),
    (of_source("def f(x): return x.sin()"), of_source("def f(x): return x.cos()")),
    (of_source("K = 1\ndef f(x): return x + K"), of_source("K = 2\ndef f(x): return x + K")),
    (of_source("def g(x): return 1\ndef f(x): return g(x)"), of_source("def g(x): return 2\ndef f(x): return g(x)")),
    (of_source("def f(x): return lambda: x")(1), of_source("def f(x): return lambda: x")(2)),
]


@pytest.mark.parametrize("pair", PAIRS, ids=[str(k) for k in range(len(PAIRS))])
def test_different_things_differ(pair):
    assert digest(pair[0]) != digest(pair[1])
    assert digest({"in": [pair[0]]}) != digest({"in": [pair[1]]})


def test_equal_things_agree():
    assert digest([1, 2]) == digest((1, 2)) and digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"x", "y", "z"}) == digest({"z", "y", "x"}) and digest(Adder(3)) == digest(Adder(3))
    plain, told = of_source("def f(x): return x + 1"), of_source("def f(x):\n  'words'\n  return x + 1")
    assert digest(plain) == digest(told)
    circle = {"me": None}
    circle["me"] = circle
    assert digest(circle) == digest(circle)


def test_what_has_no_part_in_an_answer_has_none_in_the_digest(monkeypatch):
    before = digest(Adder())
    monkeypatch.setattr(Adder, "unrelated", lambda self: "other words")
    assert digest(Adder()) == before
    monkeypatch.setattr(Adder, "_moved", lambda self, a: a - self.by)
    assert digest(Adder()) != before


def test_rows_do_not_depend_on_the_pieces():
    whole = {"x": torch.randn(10, 3), "id": torch.arange(10)}
    marks = set()
    for size in (1, 3, 10):
        rows = RowDigest()
        for start in range(0, 10, size):
            rows.add({name: value[start : start + size] for name, value in whole.items()})
        marks.add(rows.hex())
    assert len(marks) == 1


def test_what_cannot_be_told_apart_is_named():
    with pytest.raises(ValueError, match=r"the view\.by\[1\]: a generator cannot be told from another one"):
        digest({"by": [1, (n for n in "ab")]}, "the view")

"""A config that stands in one file comes out the same without Hydra as with it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embodkd.cli import flat
from embodkd.cli.compose import resolved
from embodkd.cli.literal import quoted, unquoted
from embodkd.cli.overrides import parse
from embodkd.cli.verbs import VERBS, find

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def both(*words: str) -> tuple[dict | None, dict]:
    """(without Hydra, with it)."""
    verb, rest = find(list(words))
    return flat.composed(verb, parse(verb, rest)), resolved(shlex.join(words))[1]


@settings(max_examples=20, deadline=None)
@given(TEXTS.filter(lambda text: "${" not in text), st.sampled_from(["null", "out/x.html", "a'b\\"]))
@example("lr=0.1", "true")
@example("\\'", "[a]")
def test_a_text_is_the_same(run: str, out: str) -> None:
    ours, hydras = both("report", f"run={run}", f"out={out}")
    assert ours == hydras


@pytest.mark.parametrize("number", ["1", "0.25", "-3", "1e-3", "10.0"])
def test_a_number_is_the_same_or_left_to_hydra(number: str) -> None:
    ours, hydras = both("doctor", f"seconds={number}")
    assert ours == hydras or (ours is None and "e" in number)


def test_every_config_of_one_file_is_the_same_as_it_stands() -> None:
    asked = {verb.title: [*verb.words, *(f"{key}=x" for key in verb.needs)] for verb in VERBS if verb.config}
    found = [verb for verb in VERBS if verb.config and find(asked[verb.title])[0] is verb]
    same = [both(*asked[verb.title]) for verb in found]
    assert all(ours is None or ours == hydras for ours, hydras in same)
    without = {verb.title for verb, (ours, _) in zip(found, same, strict=True) if ours is not None}
    assert {"report", "compare", "doctor", "reproduce", "demo"} <= without


@pytest.mark.parametrize(
    "words",
    [
        ["report", "-m", "run=a,b"],
        ["report", "run=${out}", "out=x"],
        ["reproduce", "seeds=[0,1]"],
        ["reproduce", "trainer.device=cpu"],
        ["compare", "policy=a", "against=b", "task=peg_hole"],
        ["evaluate", "policy=a", "out=x", "engine=mujoco"],
    ],
    ids=" ".join,
)
def test_what_only_hydra_can_say_is_left_to_it(words: list[str]) -> None:
    verb, rest = find(words)
    assert flat.composed(verb, parse(verb, rest)) is None


@given(TEXTS)
def test_a_quoted_text_is_read_back(text: str) -> None:
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize("text", ["", "'", "a", "'a", '"a"', "'a'b'", "'a\\'", "[a]"])
def test_what_is_no_quoted_text_is_none(text: str) -> None:
    assert unquoted(text) is None

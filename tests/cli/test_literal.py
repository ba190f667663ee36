"""A text on the command line arrives as it was written, whatever Hydra's grammar would make of it."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embodkd.cli.literal import value
from embodkd.cli.overrides import parse
from embodkd.cli.verbs import find

PARSER = OverridesParser.create()
# what file systems and shells let through; ${...} is Hydra's, on purpose
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(lambda t: "${" not in t)


def heard(word: str):
    (override,) = PARSER.parse_overrides([word])
    return [*override.sweep_string_iterator()] if override.is_sweep_override() else override.value()


@settings(max_examples=60)
@given(TEXTS)
@example("lr=0.1")
@example("x(1)")
@example("a,b")
@example("mein lauf/gr\u00f6\u00dfe")
@example("\U0001f916 \\'\\\\")
@example("'quoted'")
@example("[a,b]")
@example("{a: b}")
@example("-dash")
@example("1e-3")
@example("true")
@example("NULL")
@example("a#b")
@example("a\nb")
def test_one_text_arrives_as_it_is(text: str) -> None:
    assert heard(f"key={value(text, several=False, multirun=False)}") == (None if text == "null" else text)


@settings(max_examples=60)
@given(st.lists(st.text("ab =(/)\u00f6\\'$").filter(lambda t: t == t.strip() and t and t[0] not in "'"), min_size=1))
def test_a_list_of_texts_arrives_as_it_is(texts: list[str]) -> None:
    word = f"key={value('[' + ', '.join(texts) + ']', several=True, multirun=False)}"
    assert heard(word) == texts


def test_several_with_names_and_commas_under_multirun() -> None:
    assert heard(f"key={value('{clean: runs/a=1, robust: runs/b (2)}', True, False)}") == {
        "clean": "runs/a=1",
        "robust": "runs/b (2)",
    }
    assert heard(f"key={value('runs/a=1,runs/b (2)', False, True)}") == ["'runs/a=1'", "'runs/b (2)'"]
    assert heard(f"key={value('[a,b=1],[c]', True, True)}") == ["['a','b=1']", "['c']"]
    quoted = "'a,b'"
    assert heard(f"key={value(quoted, False, True)}") == "a,b"


@pytest.mark.parametrize(
    ("line", "override"),
    [
        ("train teacher run=lr=0.1", "run='lr=0.1'"),
        ("train teacher run=null", "run=null"),
        ("train teacher seed=1", "seed=1"),
        ("train teacher network.vectors=[proprio,x(1)]", "network.vectors=['proprio','x(1)']"),
        ("distill student data=hub_images data.repo=a,b teacher=x", "data.repo='a,b'"),
        ("distill student -m data=hub_images data.repo=a,b teacher=x", "data.repo='a','b'"),
        ("distill student method=fitnets data=digits method.student_tap=x(1)", "method.student_tap='x(1)'"),
        ("report runs/record/seed=0", "run='runs/record/seed=0'"),
        ("evaluate runs/a=1/policy episodes=3", "policy='runs/a=1/policy'"),
    ],
)
def test_keys_that_take_texts_are_known_from_their_comments(line: str, override: str) -> None:
    verb, rest = find(line.split())
    assert verb is not None and override in parse(verb, rest).overrides


def test_a_word_that_is_no_text_is_refused(embodkd) -> None:
    answer = embodkd("report", "runs/\udcff")
    assert answer.code == 2 and "UTF-8" in answer.err

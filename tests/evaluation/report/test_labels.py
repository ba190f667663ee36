"""Labels say what tells names apart, whole words, and never less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodkd.evaluation.report.labels import labels


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["teacher", "student", "blind"], ["Teacher", "Student", "Blind twin"]),
        (["demo/teacher", "demo/student"], ["Teacher", "Student"]),
        (["student_peg_hole", "teacher_peg_hole"], ["Student", "Teacher"]),
        (["s/lr=1e-3", "s/lr=1e-4"], ["lr=1e-3", "lr=1e-4"]),
        (["s/lr=0.1,width=64", "s/lr=0.2,width=64"], ["lr=0.1", "lr=0.2"]),
        (["x_run_1", "x_run_2", "x_run_10"], ["run_1", "run_2", "run_10"]),
        (["10_epochs", "20_epochs"], ["10_epochs", "20_epochs"]),
        (["peg", "peg_long"], ["peg", "peg_long"]),
        (["runs/only"], ["runs/only"]),
        (["a/x", "b/x"], ["a", "b"]),
    ],
)
def test_labels_are_what_is_not_common(names: list[str], expected: list[str]) -> None:
    assert labels(names) == expected


@given(st.lists(st.text("ab1_/=,", min_size=1, max_size=12), min_size=1, max_size=6, unique=True))
def test_no_two_names_get_one_label_and_none_gets_an_empty_one(names: list[str]) -> None:
    found = labels(names)
    assert len(set(found)) == len(names) and all(found)

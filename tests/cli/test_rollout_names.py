"""Two runs in folders of the same name are told apart in a film."""

from pathlib import Path

from embodkd.cli.rollout import _apart


def test_names_are_the_shortest_ends_that_differ() -> None:
    assert _apart(Path("/runs/student"), Path("/runs/teacher")) == ("student", "teacher")
    assert _apart(Path("/runs/student/lift/0"), Path("/runs/teacher/lift/0")) == ("student/lift/0", "teacher/lift/0")
    assert _apart(Path("/runs/a/0"), Path("/runs/b/c/0")) == ("a/0", "c/0")

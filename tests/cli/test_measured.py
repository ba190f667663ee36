"""What took long to measure is said where it cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from furnish import furnished

from embodkd.core.runs import files

WORDS = ["evaluate", "runs/expert", "episodes=2", "copies=2", "quiet=true"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_the_rate_is_said_where_the_disk_is_full_or_read_only(
    number: int, embodkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnished(tmp_path)

    def fails(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(files, "_fsync", fails)
        answer = embodkd(*WORDS)
    assert answer.code == 2 and answer.err.count("\n") == 1, answer.err
    assert "cannot write" in answer.err and " % of 2 episodes (95 %: " in answer.err
    assert embodkd(*WORDS).code == 0


def test_the_rate_is_said_where_the_folder_cannot_be_made(embodkd, tmp_path: Path) -> None:
    furnished(tmp_path)
    answer = embodkd(*WORDS, "out=/proc/nowhere/evaluation.json")
    assert answer.code == 2 and answer.err.count("\n") == 1, answer.err
    assert "cannot write /proc/nowhere" in answer.err and " % of 2 episodes" in answer.err

"""What all tests share: one thread per library, and the command line called in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Before numpy and torch start their pools: tests run side by side on few cores, and small matrices are slower on two.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings

# What lands is decided by the same examples every time; `make fuzz` looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=3000, deadline=None)
settings.load_profile("fixed")


@dataclass(frozen=True)
class Answer:
    """Exit code and texts of one command."""

    code: int
    out: str
    err: str


@pytest.fixture
def embodkd(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """`embodkd("evaluate", "policy=x")` runs the command in an empty folder and returns its answer."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Answer:
        from embodkd.cli import main

        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        if "torch" in sys.modules:
            # a verb may ask for one thread per core; the next test shall not wait for them
            sys.modules["torch"].set_num_threads(1)
        return Answer(code, said.out, said.err)

    return call

"""How many threads torch has is a matter of the machine and of the run, never of how busy the machine is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from embodkd.cli.common import threads_of, use_threads
from embodkd.core import RunFolder


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet machine with three cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.1, 0.1))


def begin(path: Path, asked: int) -> int:
    """The threads of a run that is made or gone on with."""
    use_threads(asked)
    with RunFolder.open(path, {}, resume=True) as run:
        return threads_of(run, asked)


def test_a_run_goes_on_with_the_threads_that_it_began_with(tmp_path: Path, monkeypatch, capsys) -> None:
    assert begin(tmp_path / "run", 0) == 3 == torch.get_num_threads()
    assert json.loads((tmp_path / "run/manifest.json").read_text())["torch_threads"] == 3
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert begin(tmp_path / "run", 0) == 3 == torch.get_num_threads()
    assert "goes on with 3 threads of torch" in capsys.readouterr().out


def test_a_busy_machine_gets_a_line_and_the_same_threads(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.6, 0.0, 0.0))
    assert begin(tmp_path / "chosen", 0) == 3
    assert "busy (load 3.6); torch_threads=1 may be faster" in capsys.readouterr().out
    assert begin(tmp_path / "one", 1) == 1 and begin(tmp_path / "two", 2) == 2
    assert capsys.readouterr().out == "", "who asks for a number knows why"


def test_threads_that_wait_sleep(embodkd, monkeypatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    embodkd("--version")
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"

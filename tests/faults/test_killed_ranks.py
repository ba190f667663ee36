"""Processes that are really killed: the run ends with one line, and goes on to what it would have become."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.torch import load_file

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
WORDS = [
    "train", "teacher", "data=digits", "data.train=120", "data.validation=40", "budget.batch_size=30",
    "budget.updates=null", "budget.epochs=2500", "trainer.checkpoint_s=0.2", "torch_threads=1", "quiet=true",
]  # fmt: skip
EPOCHS = 2500


def start(folder: Path, run: str, *words: str, processes: int = 2, restarts: int = 0) -> subprocess.Popen[str]:
    launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", f"--max-restarts={restarts}"]
    command = [sys.executable, "-m", *launcher, "-m", "embodkd.cli", *WORDS, f"run={run}", *words]
    return subprocess.Popen(command, cwd=folder, stdout=-1, stderr=-1, text=True, start_new_session=True)


def end(process: subprocess.Popen[str], seconds: float = 300) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


def workers(launcher: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """rank -> process, for those of the launcher's children that have begun."""
    found = {}
    for child in psutil.Process(launcher.pid).children():
        try:
            found[int(child.environ()["RANK"])] = child
        except (psutil.Error, KeyError):
            continue
    return found


def kill_when_saved(launcher: subprocess.Popen[str], run: Path, rank: int, after: int = 1) -> None:
    """SIGKILL to `rank` once a checkpoint later than update `after` lies there."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        assert launcher.poll() is None, launcher.communicate()
        steps = [int(p.name[5:]) for p in (run / "checkpoints").glob("step_*") if p.name[5:].isdigit()]
        if steps and max(steps) > after and rank in workers(launcher):
            workers(launcher)[rank].kill()
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written")


def weights(folder: Path) -> dict:
    return load_file(folder / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    code, out, err = end(start(folder, "run"))
    assert code == 0 and "10000 updates" in out, err
    return weights(folder / "run")


def same(found: dict, wanted: dict, exactly: bool = True) -> None:
    for name, value in wanted.items():
        tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-2, "atol": 1e-2}
        np.testing.assert_allclose(found[name], value, **tolerance, err_msg=name)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_run_with_one_line_and_resume_goes_on(whole, tmp_path, rank):
    launcher = start(tmp_path, "run")
    kill_when_saved(launcher, tmp_path / "run", rank)
    code, _, err = end(launcher, 60)
    ours = [line for line in err.splitlines() if line.startswith("embodkd: ")]
    assert code != 0 and len(ours) == 1 and "is gone" in ours[0] and "resume=true" in ours[0], err
    code, _, err = end(start(tmp_path, "run", "resume=true"))
    assert code == 0, err
    same(weights(tmp_path / "run"), whole)


def test_torchrun_restarts_what_it_lost_from_the_last_checkpoint(whole, tmp_path):
    launcher = start(tmp_path, "run", restarts=2)
    kill_when_saved(launcher, tmp_path / "run", 1)
    kill_when_saved(launcher, tmp_path / "run", 0, after=2000)
    code, out, err = end(launcher)
    assert code == 0 and "10000 updates" in out, err
    same(weights(tmp_path / "run"), whole)


@pytest.mark.parametrize("processes", [1, 3])
def test_another_number_of_processes_goes_on(whole, tmp_path, processes):
    launcher = start(tmp_path, "run")
    kill_when_saved(launcher, tmp_path / "run", 1)
    end(launcher, 60)
    code, out, err = end(start(tmp_path, "run", "resume=true", processes=processes))
    assert code == 0 and "10000 updates" in out, err
    same(weights(tmp_path / "run"), whole, exactly=False)


def test_a_refused_launch_is_not_let_in_by_a_restart(tmp_path):
    code, _, err = end(start(tmp_path, "run", "budget.epochs=2"))
    assert code == 0, err
    before = weights(tmp_path / "run")
    code, _, err = end(start(tmp_path, "run", "budget.epochs=2", restarts=2))
    assert code != 0 and err.count("say resume=true") == 3
    same(weights(tmp_path / "run"), before)

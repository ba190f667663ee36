"""Processes that are really killed: the run ends with one line, and goes on to what it would have become."""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from furnish import furnished
from launch import Launch, launch
from safetensors.torch import load_file

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
WORDS = [
    "train", "teacher", "data=digits", "data.train=120", "data.validation=40", "budget.batch_size=30",
    "budget.updates=null", "budget.epochs=1000", "trainer.checkpoint_s=0.2", "torch_threads=1", "quiet=true",
]  # fmt: skip
ROBOT = [
    "distill", "student", "teacher=runs/expert", "student=mlp", "student.vectors=[proprio]", "num_envs=5",
    "method.rounds=25", "method.steps=20", "method.epochs=2", "method.batch_size=64", "method.beta=0.5", "episodes=0",
    "trainer.checkpoint_s=0.2", "torch_threads=1", "quiet=true",
]  # fmt: skip


def training(folder: Path, run: str, *words: str, **launcher: int) -> AbstractContextManager[Launch]:
    command = [*(() if words[:1] == ("distill",) else WORDS), *words]
    return launch(folder, "-m", "embodkd.cli", *command, f"run={run}", **launcher)


def trained(folder: Path, run: str, *words: str, **launcher: int) -> tuple[int, str, str]:
    """Train to the end: exit code and texts."""
    with training(folder, run, *words, **launcher) as started:
        return started.end(400)


def kill_when_saved(started: Launch, run: Path, rank: int, after: int = 1) -> None:
    """SIGKILL to `rank` once a checkpoint later than update `after` lies there."""
    limit = time.monotonic() + 120
    while time.monotonic() < limit:
        assert started.process.poll() is None, started.end()
        steps = [int(p.name[5:]) for p in (run / "checkpoints").glob("step_*") if p.name[5:].isdigit()]
        if steps and max(steps) > after and rank in (workers := started.workers()):
            workers[rank].kill()
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written")


@pytest.fixture
def kill(count_case):
    """`kill_when_saved`, counted."""

    def counted(*given, **more) -> None:
        kill_when_saved(*given, **more)
        count_case("kills of ranks")

    return counted


def weights(folder: Path) -> dict:
    inside = "model" if (folder / "model").exists() else "policy"
    return load_file(folder / inside / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    code, out, err = trained(folder, "run")
    assert code == 0 and "4000 updates" in out, err
    return weights(folder / "run")


def same(found: dict, wanted: dict, exactly: bool = True) -> None:
    for name, value in wanted.items():
        tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-2, "atol": 1e-2}
        np.testing.assert_allclose(found[name], value, **tolerance, err_msg=name)


def test_robots_go_on_with_the_states_that_all_copies_had_visited(tmp_path, kill):
    """Rows are kept by the first rank, wherever they were collected; a round that was broken off is made again."""
    furnished(tmp_path)
    assert trained(tmp_path, "runs/whole", *ROBOT)[0] == 0
    with training(tmp_path, "runs/broken", *ROBOT) as started:
        kill(started, tmp_path / "runs/broken", 1)
        started.end(60)
    shutil.copytree(tmp_path / "runs/broken", tmp_path / "runs/alone", ignore=shutil.ignore_patterns(".lock"))
    file = tmp_path / "runs/alone/config.yaml"
    file.write_text(file.read_text().replace("runs/broken", "runs/alone"))
    for run, processes in (("runs/broken", 2), ("runs/alone", 1)):
        code, _, err = trained(tmp_path, run, *ROBOT, "resume=true", processes=processes)
        assert code == 0, err
        same(weights(tmp_path / run), weights(tmp_path / "runs/whole"), exactly=processes == 2)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_run_with_one_line_and_resume_goes_on(whole, tmp_path, rank, kill):
    with training(tmp_path, "run") as started:
        kill(started, tmp_path / "run", rank)
        code, _, err = started.end(60)
    ours = [line for line in err.splitlines() if line.startswith("embodkd: ")]
    assert code != 0 and len(ours) == 1 and "is gone" in ours[0] and "resume=true" in ours[0], err
    code, _, err = trained(tmp_path, "run", "resume=true")
    assert code == 0, err
    same(weights(tmp_path / "run"), whole)


def test_torchrun_restarts_what_it_lost_from_the_last_checkpoint(whole, tmp_path, kill):
    with training(tmp_path, "run", restarts=2) as started:
        kill(started, tmp_path / "run", 1)
        kill(started, tmp_path / "run", 0, after=1000)
        code, out, err = started.end(400)
    assert code == 0 and "4000 updates" in out, err
    same(weights(tmp_path / "run"), whole)


@pytest.mark.parametrize("processes", [1, 3])
def test_another_number_of_processes_goes_on(whole, tmp_path, processes, kill):
    with training(tmp_path, "run") as started:
        kill(started, tmp_path / "run", 1)
        started.end(60)
    code, out, err = trained(tmp_path, "run", "resume=true", processes=processes)
    assert code == 0 and "4000 updates" in out, err
    same(weights(tmp_path / "run"), whole, exactly=False)


def test_a_refused_launch_is_not_let_in_by_a_restart(tmp_path):
    code, _, err = trained(tmp_path, "run", "budget.epochs=2")
    assert code == 0, err
    before = weights(tmp_path / "run")
    code, _, err = trained(tmp_path, "run", "budget.epochs=2", restarts=2)
    assert code != 0 and err.count("say resume=true") == 3
    same(weights(tmp_path / "run"), before)


SHARDED = [
    "distill", "student", "data=digits", "data.train=120", "data.validation=40", "budget.batch_size=30",
    "budget.epochs=30", "teacher=teacher", "method=kd", "model=cnn", "model.widths=[4,8]", "trainer.shard=all",
    "trainer.checkpoint_s=0.2", "trainer.log_every=5", "torch_threads=1", "quiet=true",
]  # fmt: skip


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A folder with a teacher, and a student that learned from it whole."""
    folder = tmp_path_factory.mktemp("taught")
    assert trained(folder, "teacher", "budget.epochs=4", processes=1)[0] == 0
    code, out, err = trained(folder, "run", *SHARDED)
    assert code == 0 and "120 updates" in out, err
    return folder


@pytest.mark.parametrize("rank", [0, 1])
def test_models_in_parts_go_on_after_a_kill(taught, tmp_path, rank, kill):
    """To the same bits on two processes, and on one with what the two left."""
    shutil.copytree(taught / "teacher", tmp_path / "teacher")
    with training(tmp_path, "run", *SHARDED) as started:
        kill(started, tmp_path / "run", rank)
        assert started.end(60)[0] != 0
    shutil.copytree(tmp_path / "run", tmp_path / "alone/run", ignore=shutil.ignore_patterns(".lock"))
    shutil.copytree(taught / "teacher", tmp_path / "alone/teacher")
    for folder, processes in ((tmp_path, 2), (tmp_path / "alone", 1)):
        code, out, err = trained(folder, "run", *SHARDED, "resume=true", processes=processes)
        assert code == 0 and "120 updates" in out, err
        same(weights(folder / "run"), weights(taught / "run"), exactly=processes == 2)

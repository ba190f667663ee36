"""A run folder is whole or absent, owned by one process, and never silently mixed with another run."""

import errno
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from kills import begun

from embodkd.core import RunFolder
from embodkd.core.rng import rng_state, set_rng_state
from embodkd.core.runs import files
from embodkd.core.runs.files import atomic_folder

CONFIG = {"task": {"name": "peg_hole", "size": (1, 2)}, "seed": 3}


def test_first_open_writes_config_and_manifest(tmp_path):
    with RunFolder.open(tmp_path / "a", CONFIG) as run:
        manifest = run.manifest()
    assert manifest["seed"] == 3 and manifest["versions"]["torch"] == torch.__version__
    assert "name: peg_hole" in (tmp_path / "a" / "config.yaml").read_text()


def test_finish_records_facts(tmp_path):
    RunFolder.open(tmp_path / "a", CONFIG).finish(minutes=1.5)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["minutes"] == 1.5 and manifest["finished"]


def test_memory_is_the_most_that_any_process_of_the_run_held(tmp_path, monkeypatch):
    for held, known in ((300, 300), (200, 300), (400, 400)):
        monkeypatch.setattr("embodkd.core.runs.folder.peak_memory", lambda held=held: held)
        with RunFolder.open(tmp_path / "a", CONFIG, resume=True) as run:
            run.finish()
        assert run.manifest()["memory_mib"] == known


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the run folder believes have passed."""
    seconds = [1000.0]
    monkeypatch.setattr("embodkd.core.runs.folder.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    return seconds


def test_minutes_are_those_of_all_processes_and_work_done_twice_counts_once(tmp_path, clock):
    with RunFolder.open(tmp_path / "a", {}) as run:
        clock[0] += 60
        run.save_checkpoint(1, {}, {})
        clock[0] += 600
        run.log(2, loss=1.0)
    for process, repeated in enumerate((True, False), start=2):
        clock[0] += 5000  # between processes
        with RunFolder.open(tmp_path / "a", {}, resume=True) as run:
            assert run.minutes == process - 1
            clock[0] += 60
            run.log(process, loss=1.0)
            assert run.metrics()[-1]["time_s"] == 60 * process and run.minutes == process
            if repeated:
                run.save_checkpoint(process, {}, {})
    assert [row["step"] for row in run.metrics()] == [2, 3]


def test_a_finished_run_that_is_called_again_keeps_its_minutes(tmp_path, clock):
    with RunFolder.open(tmp_path / "a", {}) as run:
        clock[0] += 60
        run.save_checkpoint(1, {}, {})
        clock[0] += 30
        run.finish(minutes=run.minutes)
    for _ in range(2):
        with RunFolder.open(tmp_path / "a", {}, resume=True) as run:
            clock[0] += 600
            assert run.minutes == 1.5
            run.finish(minutes=run.minutes)
    assert run.manifest()["minutes"] == 1.5


def test_existing_run_is_refused_unless_resumed_with_the_same_config(tmp_path):
    RunFolder.open(tmp_path / "a", CONFIG).close()
    with pytest.raises(ValueError, match="resume=true"):
        RunFolder.open(tmp_path / "a", CONFIG)
    with pytest.raises(ValueError, match=r"seed: 3 there, 4 here"):
        RunFolder.open(tmp_path / "a", {**CONFIG, "seed": 4}, resume=True)
    with RunFolder.open(tmp_path / "a", {**CONFIG, "resume": True}, resume=True) as run:
        assert len(run.manifest()["resumed"]) == 1


def test_resume_of_nothing_starts(tmp_path):
    with RunFolder.open(tmp_path / "a", CONFIG, resume=True) as run:
        assert run.latest_checkpoint() is None


def test_foreign_folder_is_refused_even_with_resume(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="not a run folder"):
        RunFolder.open(tmp_path, CONFIG, resume=True)


def test_second_process_is_refused_and_told_who_holds_it(tmp_path):
    code = "import sys; from embodkd.core.runs.folder import RunFolder; RunFolder.open(sys.argv[1], {}, resume=True)"
    with RunFolder.open(tmp_path / "a", {}):
        answer = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True)
        assert answer.returncode != 0 and f"pid {os.getpid()}" in answer.stderr
    again = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr


def test_log_is_one_json_line_per_step_and_nan_is_null(tmp_path):
    with RunFolder.open(tmp_path / "a", {}) as run:
        run.log(1, loss=torch.tensor(0.5))
        run.log(2, loss=float("nan"), n=np.int64(3))
        rows = run.metrics()
    assert [r["step"] for r in rows] == [1, 2] and rows[0]["loss"] == 0.5
    assert rows[1]["loss"] is None and rows[1]["n"] == 3


def test_tensorboard_has_the_same_scalars(tmp_path):
    with RunFolder.open(tmp_path / "a", {}) as run:
        run.log(1, loss=0.5)
    assert list((tmp_path / "a" / "tensorboard").glob("events*"))


def test_checkpoint_round_trip_keeps_kinds_dtypes_and_values(tmp_path):
    tied = torch.arange(4.0)
    tensors = {
        "weight": tied,
        "tied": tied,
        "half": torch.ones(2, dtype=torch.bfloat16),
        "transposed": torch.rand(3, 2).T,
        "image": np.arange(6, dtype=np.uint8).reshape(2, 3)[:, ::2],
        "words": np.arange(3, dtype=np.uint32),
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), np.float32),
    }
    with RunFolder.open(tmp_path / "a", {}) as run:
        run.save_checkpoint(7, tensors, {"round": 2})
        back = run.latest_checkpoint()
    assert back.step == 7 and back.state == {"round": 2} and back.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        assert type(back.tensors[name]) is type(value) and back.tensors[name].dtype == value.dtype, name
        assert back.tensors[name].shape == value.shape and (back.tensors[name] == value).all()


def test_only_the_last_two_checkpoints_stay(tmp_path):
    with RunFolder.open(tmp_path / "a", {}) as run:
        for step in (1, 2, 10, 9):
            run.save_checkpoint(step, {"x": torch.zeros(1)}, {})
        assert run.latest_checkpoint().step == 10
    assert sorted(p.name for p in (tmp_path / "a" / "checkpoints").iterdir()) == ["step_10", "step_9"]


@pytest.mark.parametrize("damage", ["truncate", "missing", "state"])
def test_damaged_checkpoint_is_skipped_aloud(tmp_path, damage):
    with RunFolder.open(tmp_path / "a", {}) as run:
        run.save_checkpoint(1, {"x": torch.zeros(100)}, {})
        file = run.save_checkpoint(2, {"x": torch.ones(100)}, {}) / "tensors.safetensors"
        if damage == "truncate":
            os.truncate(file, 50)
        elif damage == "missing":
            file.unlink()
        else:
            file.with_name("state.json").write_text('{"step": ')
        with pytest.warns(UserWarning, match="step_2"):
            assert run.latest_checkpoint().step == 1


@pytest.mark.parametrize(
    "facts",
    [[], "x", {}, {"step": 2}, {"step": "2", "state": {}}, {"step": 2, "state": []}, {"step": 3, "state": {}}]
    + [{"step": 2, "state": {}, key: value} for key in ("minutes", "metrics_bytes") for value in (None, "1", [])],
)
def test_a_state_of_the_wrong_shape_is_said_and_the_former_checkpoint_is_taken(tmp_path, facts):
    with RunFolder.open(tmp_path / "a", {}) as run:
        run.save_checkpoint(1, {"x": torch.zeros(2)}, {})
        file = run.save_checkpoint(2, {"x": torch.ones(2)}, {}) / "state.json"
        file.write_text(json.dumps(facts))
        (file.parent / "state.json.sha256").unlink()
    with pytest.warns(UserWarning, match=r"state\.json.*step_1 is taken instead"):
        run = RunFolder.open(tmp_path / "a", {}, resume=True)
    with run, pytest.warns(UserWarning, match=r"state\.json"):
        assert run.latest_checkpoint().step == 1


def test_all_checkpoints_damaged_is_an_error_that_names_the_folder(tmp_path):
    with RunFolder.open(tmp_path / "a", {}) as run:
        os.truncate(run.save_checkpoint(1, {"x": torch.zeros(100)}, {}) / "tensors.safetensors", 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match="no checkpoint can be read"):
                run.latest_checkpoint()


def test_resume_drops_the_metrics_that_will_be_repeated(tmp_path):
    with RunFolder.open(tmp_path / "a", {}) as run:
        run.log(1, loss=1.0)
        run.save_checkpoint(1, {}, {})
        run.log(1, success=0.1)
        run.log(2, loss=0.5)
    with open(tmp_path / "a" / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "lo')
    with RunFolder.open(tmp_path / "a", {}, resume=True) as run:
        assert [(r["step"], r.get("loss")) for r in run.metrics()] == [(1, 1.0)]


def test_atomic_folder_replaces_whole_or_not_at_all(tmp_path):
    target = tmp_path / "policy"
    for text in ("old", "new"):
        with atomic_folder(target) as aside:
            (aside / "file").write_text(text)
    assert (target / "file").read_text() == "new"
    with pytest.raises(RuntimeError), atomic_folder(target) as aside:
        (aside / "file").write_text("half")
        raise RuntimeError("crash")
    assert (target / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["policy"]


def test_replacing_works_without_the_exchange_call(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "policy") as aside:
            (aside / "file").write_text(text)
    assert (tmp_path / "policy" / "file").read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_full_disk_names_the_path_and_leaves_the_former_checkpoint(tmp_path):
    code = """
import resource, sys, torch
from embodkd.core.runs.folder import RunFolder
run = RunFolder.open(sys.argv[1], {})
run.save_checkpoint(1, {"x": torch.zeros(10)}, {})
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    run.save_checkpoint(2, {"x": torch.zeros(100_000)}, {})
except OSError as error:
    assert "step_2" in str(error) and "intact" in str(error), error
else:
    raise SystemExit("no error")
assert run.latest_checkpoint().step == 1
"""
    answer = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert sorted(p.name for p in (tmp_path / "a" / "checkpoints").iterdir()) == ["step_1"]


def test_no_space_is_explained(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunFolder.open(tmp_path / "a", {}) as run:
        monkeypatch.setattr(files, "_fsync", full)
        with pytest.raises(OSError, match=r"step_1.*free some space"):
            run.save_checkpoint(1, {}, {})


def test_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot create .*file/a"):
        RunFolder.open(tmp_path / "file" / "a", {})


def test_kill_during_saving_leaves_a_whole_checkpoint(tmp_path):
    def save_on_and_on():
        run = RunFolder.open(tmp_path / "a", {}, resume=True)
        newest = run.latest_checkpoint()
        for step in itertools.count(newest.step + 1 if newest else 1):
            run.save_checkpoint(step, {"x": torch.full((200_000,), float(step))}, {"s": step})

    delays, places = random.Random(0), tmp_path / "a" / "checkpoints"
    for _ in range(2):
        former = set(places.glob("step_*"))
        child = begun(save_on_and_on, tmp_path / "said.txt")
        limit = time.monotonic() + 60
        while set(places.glob("step_*")) <= former and time.monotonic() < limit:
            time.sleep(0.002)
        time.sleep(0.05 + delays.random() * 0.2)
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        with RunFolder.open(tmp_path / "a", {}, resume=True) as run:
            newest = run.latest_checkpoint()
            assert (newest.tensors["x"] == newest.state["s"]).all()
            assert not [p for p in places.iterdir() if p.name.startswith(".")]


def test_random_states_come_back(tmp_path):
    own = np.random.default_rng(5)
    legacy = np.random.Generator(np.random.MT19937(1))

    def draw() -> tuple[float, ...]:
        python = random.random(), random.gauss(0, 1)
        return own.random(), legacy.random(), np.random.rand(), torch.rand(()).item(), *python

    draw()
    tensors, state = rng_state(own=own, legacy=legacy)
    with RunFolder.open(tmp_path / "a", {}) as run:
        run.save_checkpoint(1, tensors, {"rng": state})
        expected = draw()
        saved = run.latest_checkpoint()
    set_rng_state(saved.tensors, saved.state["rng"], own=own, legacy=legacy)
    assert draw() == expected
    with pytest.raises(ValueError, match="no random generator 'other'"):
        set_rng_state(saved.tensors, saved.state["rng"], other=own)

"""Killed at any instant and resumed, a distillation ends with the same weights, bit for bit (CPU)."""

import json
import signal
import time

import numpy as np
import pytest
import torch
from kills import forked
from safetensors.torch import load_file
from toy import Student, Teacher, ToyTask, fingerprint

from embodkd.core import (
    Buffer,
    Optimiser,
    Player,
    Recipe,
    Role,
    RunFolder,
    TensorData,
    Trainer,
    cosine,
    distill,
    fit,
    squared_error,
)
from embodkd.core.runs.digests import write_digest
from embodkd.core.runs.files import read_tensors
from embodkd.methods import get_method


def run_dagger(folder, rounds=4, aggregate=True, stop_after=None):
    student, teacher = Student(seed=1), Teacher()
    method = get_method("dagger")(rounds=rounds, epochs=4, batch_size=32, warmup=5, aggregate=aggregate)

    def pause(context):
        time.sleep(0.05)
        return {"done": 1.0}

    with RunFolder.open(folder, {"aggregate": aggregate}, resume=True) as run:
        options = {"checkpoint_s": 0.0, "quiet": True}
        distill(method, student, teacher, ToyTask(16), run=run, seed=3, trainer=options, then=(pause,))
    return student


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return fingerprint(run_dagger(tmp_path_factory.mktemp("whole") / "run"))


def test_same_seed_gives_the_same_weights(uninterrupted, tmp_path):
    assert fingerprint(run_dagger(tmp_path / "again")) == uninterrupted


def test_kill_nine_then_resume_gives_identical_weights(uninterrupted, tmp_path):
    """Killed again and again, each time a little later after the start, until a run gets through."""
    delays = np.sort(np.random.default_rng(0).uniform(0.05, 0.6, 3))
    ends = [forked(lambda: run_dagger(tmp_path / "run"), tmp_path / "said.txt", delay) for delay in delays]
    kills = sum(end.code == -signal.SIGKILL for end in ends)
    assert kills, "every child finished before it was killed: lengthen the run"
    assert fingerprint(run_dagger(tmp_path / "run")) == uninterrupted


class Stopped(Exception):
    pass


@pytest.mark.parametrize("aggregate", [True, False])
def test_every_epoch_boundary_is_a_place_to_resume_from(tmp_path, aggregate, monkeypatch):
    """Stop right after each checkpoint in turn; the chain of resumed runs ends with the bits of the unbroken one."""
    whole = fingerprint(run_dagger(tmp_path / "whole", rounds=2, aggregate=aggregate))
    save = RunFolder.save_checkpoint
    stops = 0

    def save_and_stop(self, *args):
        save(self, *args)
        raise Stopped

    monkeypatch.setattr(RunFolder, "save_checkpoint", save_and_stop)
    for _ in range(50):
        try:
            student = run_dagger(tmp_path / "broken", rounds=2, aggregate=aggregate)
            break
        except Stopped:
            stops += 1
    assert stops == 2 * 4 + 1
    assert fingerprint(student) == whole


@pytest.mark.parametrize("aggregate", [True, False])
def test_where_the_newest_checkpoint_is_damaged_the_former_one_still_has_its_rollouts(tmp_path, aggregate, monkeypatch):
    whole = fingerprint(run_dagger(tmp_path / "whole", rounds=3, aggregate=aggregate))
    tidy, left = Buffer.tidy, []

    def tidy_and_stop_at_the_last(self, folder):
        tidy(self, folder)
        left[0] -= 1
        if not left[0]:
            raise Stopped

    for tidied in range(2, 12):
        left[:], folder = [tidied], tmp_path / f"broken_{tidied}"
        with monkeypatch.context() as patched, pytest.raises(Stopped):
            patched.setattr(Buffer, "tidy", tidy_and_stop_at_the_last)
            run_dagger(folder, rounds=3, aggregate=aggregate)
        newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name[5:]))
        (newest / "state.json").write_text("{}")
        with pytest.warns(UserWarning, match="is taken instead"):
            assert fingerprint(run_dagger(folder, rounds=3, aggregate=aggregate)) == whole


def test_checkpoint_and_student_hold_no_teacher_tensor(tmp_path):
    teacher = torch.nn.Linear(3, 2)
    student = torch.nn.Linear(3, 2)
    recipe = imitation(student, teacher)
    with RunFolder.open(tmp_path / "run", {}) as run:
        Trainer(run, quiet=True).fit(recipe)
        file = run.latest_checkpoint().path / "tensors.safetensors"
    for value in load_file(file).values():
        assert not any(torch.equal(value, secret) for secret in teacher.state_dict().values())


def imitation(student: torch.nn.Module, teacher: torch.nn.Module, epochs: int = 3) -> Recipe:
    data = TensorData({"input": torch.randn(50, 3, generator=torch.Generator().manual_seed(0))})

    def terms(batch, s, t):
        return {"imitate": squared_error(s.logits_NC, t.logits_NC)}

    rate = cosine(1e-2, 1e-4)
    player = Player(Role(student), terms, given={"t": Role(teacher, "frozen")}, optimiser=Optimiser("adamw", rate))
    return fit(player, data, epochs=epochs, batch_size=16)


def test_a_finished_run_resumes_to_its_weights_at_once(tmp_path):
    student = torch.nn.Linear(3, 2)
    teacher = torch.nn.Linear(3, 2)
    with RunFolder.open(tmp_path / "run", {}) as run:
        minutes = Trainer(run, quiet=True).fit(imitation(student, teacher)).minutes
        run.finish(minutes=minutes)
    fresh = torch.nn.Linear(3, 2)
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        summary = Trainer(run, quiet=True).fit(imitation(fresh, teacher))
    assert summary.updates == 3 * 4 and fingerprint(fresh) == fingerprint(student)
    assert summary.minutes == minutes > 0


def test_minutes_of_a_resumed_training_hold_those_before(tmp_path):
    teacher = torch.nn.Linear(3, 2)
    with RunFolder.open(tmp_path / "run", {}) as run:
        Trainer(run, quiet=True).fit(imitation(torch.nn.Linear(3, 2), teacher))
    state = tmp_path / "run" / "checkpoints" / "step_12" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "minutes": 90.0}))
    write_digest(state)
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        summary = Trainer(run, quiet=True).fit(imitation(torch.nn.Linear(3, 2), teacher))
    assert 90 < summary.minutes < 91


def test_resume_with_another_student_is_refused(tmp_path):
    teacher = torch.nn.Linear(3, 2)
    with RunFolder.open(tmp_path / "run", {}) as run:
        Trainer(run, quiet=True).fit(imitation(torch.nn.Linear(3, 2), teacher))
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        other = torch.nn.Sequential(torch.nn.Linear(3, 2))
        with pytest.raises(ValueError, match=r"does not fit model 0 \(Sequential\)"):
            Trainer(run, quiet=True).fit(imitation(other, teacher))


def test_metrics_of_a_resumed_run_have_each_step_once(tmp_path, monkeypatch):
    run_dagger(tmp_path / "whole", rounds=2)
    save = RunFolder.save_checkpoint
    calls = []

    def fail_at_fourth(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise Stopped
        return save(self, *args)

    monkeypatch.setattr(RunFolder, "save_checkpoint", fail_at_fourth)
    with pytest.raises(Stopped):
        run_dagger(tmp_path / "broken", rounds=2)
    run_dagger(tmp_path / "broken", rounds=2)

    def numbers(name):
        with RunFolder.open(tmp_path / name, {"aggregate": True}, resume=True) as run:
            return [{k: v for k, v in row.items() if k != "time_s"} for row in run.metrics()]

    assert numbers("broken") == numbers("whole")


def test_kept_rollouts_are_on_disk_while_needed_and_gone_afterwards(tmp_path, monkeypatch):
    seen = []
    save = RunFolder.save_checkpoint

    def look(self, *args):
        shards = sorted((self.path / "source" / "stage_0").glob("shard_*"))
        seen.append(len(shards))
        for shard in shards:
            assert read_tensors(shard / "rows.safetensors")["wrist_depth"].dtype == np.uint8
        return save(self, *args)

    monkeypatch.setattr(RunFolder, "save_checkpoint", look)
    run_dagger(tmp_path / "run", rounds=2)
    assert seen[:3] == [1, 1, 1] and max(seen) == 2
    assert not (tmp_path / "run" / "source").exists()


class _Killed(Exception):
    pass


@pytest.mark.parametrize("length", [{"epochs": 1}, {"updates_per_round": 20}])
def test_a_long_epoch_goes_on_from_within(tmp_path, length):
    source = TensorData({"input": torch.randn(40, 3, generator=torch.Generator().manual_seed(0))})
    calls = []

    def recipe(stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)

        def terms(batch, s):
            calls.append(1)
            if len(calls) == stop_at:
                raise _Killed
            return {"size": squared_error(s.logits_NC, torch.ones_like(s.logits_NC))}

        return fit(Player(Role(model), terms), source, batch_size=2, **length)

    whole = recipe()
    Trainer(quiet=True).fit(whole)
    calls.clear()
    often = {"quiet": True, "checkpoint_s": 1e-9, "log_every": 4}
    with pytest.raises(_Killed), RunFolder.open(tmp_path / "run", {}) as run:
        Trainer(run, **often).fit(recipe(stop_at=15))
    calls.clear()
    resumed = recipe()
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        Trainer(run, **often).fit(resumed)
    assert len(calls) == 20 - 12
    assert all(a.equal(b) for a, b in zip(whole.product.parameters(), resumed.product.parameters(), strict=True))

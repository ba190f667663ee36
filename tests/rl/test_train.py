"""Training in a run folder: killed at any instant it ends in the same bits; what it keeps; what it refuses."""

import json
import os
import signal
import time

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.policies import load_policy, make_policy, save_policy, task_record
from kills import begun, forked
from line_task import Line

from embodkd.core import RunFolder
from embodkd.core.runs.digests import write_digest
from embodkd.rl import loop
from embodkd.rl.config import TeacherConfig
from embodkd.rl.train import train_teacher

PPO = {"num_envs": 32, "n_steps": 8, "minibatch": 128}
SMALL = {
    "steps": 3072,
    "ppo": PPO,
    "network": {"hidden": [16]},
    "evaluate_every": 1024,
    "evaluate_episodes": 4,
    "checkpoint_every": 512,
    "quiet": True,
}
LINE = {**SMALL, "steps": 4096, "ppo": {**PPO, "learning_rate": 3e-3}, "evaluate_episodes": 16}


@pytest.fixture
def line(monkeypatch):
    """Lets train_teacher train on the toy task."""
    monkeypatch.setattr(loop, "make_task", lambda name, num_envs, **_: Line(num_envs))


def trained(folder):
    with RunFolder.open(folder, SMALL, resume=True) as run:
        train_teacher("peg_hole", run, TeacherConfig(seed=3, **SMALL), threads=1)


def files(folder):
    return {p: (folder / p).read_bytes() for p in ("policy/model.safetensors", "policy_last/model.safetensors")}


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_bits(tmp_path):
    log = tmp_path / "said.txt"
    whole = forked(lambda: trained(tmp_path / "whole"), log)
    assert whole.code == 0, whole.said
    rng = np.random.default_rng(0)
    killed = 0
    for goal in (1, 2):
        # Kill after the goal-th checkpoint exists, at a random instant of what follows.
        child = begun(lambda: trained(tmp_path / "killed"), log)
        limit = time.monotonic() + 60
        while len(_steps(tmp_path / "killed")) < goal and time.monotonic() < limit:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert killed >= 1, "the child finished before it was killed"
    last = forked(lambda: trained(tmp_path / "killed"), log)
    assert last.code == 0, last.said
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    lines = [_metrics(tmp_path / name) for name in ("killed", "whole")]
    assert lines[0] == lines[1]


def _steps(folder):
    return list((folder / "checkpoints").glob("step_*"))


def _metrics(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "time_s"} for row in rows]


def test_keeps_best_and_last_and_says_what_happened(tmp_path, line):
    with RunFolder.open(tmp_path / "run", {}) as run:
        summary = train_teacher("line", run, TeacherConfig(**LINE))
        rows = run.metrics()
    assert summary.steps == 4096
    evaluations = [r["evaluation/success"] for r in rows if "evaluation/success" in r]
    assert len(evaluations) == 4
    assert summary.best_success == max(evaluations)
    assert summary.success == evaluations[-1]
    best, meta = load_policy(summary.policy)
    assert meta["lineage"]["method"] == "ppo" and meta["task"]["name"] == "line"
    assert loop.success_and_return(best, Line(16))[0] == summary.best_success
    last, meta = load_policy(tmp_path / "run" / "policy_last")
    assert meta["extra"]["steps"] == 4096
    assert loop.success_and_return(last, Line(16))[0] == summary.success
    assert {"train/kl", "train/learning_rate", "rollout/success_rate", "rollout/ep_rew_mean"} <= set().union(*rows)


def test_stops_after_two_good_evaluations_in_a_row_and_stays_stopped(tmp_path, line):
    settings = {**LINE, "target": 0.0}
    with RunFolder.open(tmp_path / "run", {}) as run:
        summary = train_teacher("line", run, TeacherConfig(**settings))
        run.finish(minutes=summary.minutes)
    assert summary.stopped_early and summary.steps == 2048
    before = files(tmp_path / "run")
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        again = train_teacher("line", run, TeacherConfig(**settings))
    assert again.steps == 2048 and again.minutes == summary.minutes > 0
    assert files(tmp_path / "run") == before


def test_minutes_are_those_of_all_processes(tmp_path, line):
    with RunFolder.open(tmp_path / "run", {}) as run:
        train_teacher("line", run, TeacherConfig(**LINE))
    state = tmp_path / "run" / "checkpoints" / "step_4096" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "minutes": 90.0}))
    write_digest(state)
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        assert 90 < train_teacher("line", run, TeacherConfig(**LINE)).minutes < 92


def test_a_student_is_improved_from_its_folder_with_its_own_statistics(tmp_path, line):
    task = Line(8)
    student = make_policy("blind", task.spec.groups, 2, hidden=(16,))
    task.reset(np.arange(8))
    student.update_statistics(task.observe(student.reads))
    folder = save_policy(tmp_path / "student", student, task=task_record(task.spec), lineage={"method": "dagger"})
    with RunFolder.open(tmp_path / "run", {}) as run:
        train_teacher("line", run, TeacherConfig(init=folder, **LINE))
    tuned, meta = load_policy(tmp_path / "run" / "policy_last")
    assert tuned.reads == ("proprio",)
    assert (tuned.normaliser.mean == student.normaliser.mean).all()
    assert (tuned.head[0].weight != student.head[0].weight).any()
    assert meta["lineage"]["init"]["lineage"] == {"method": "dagger"}


def test_a_policy_of_another_task_or_none_at_all_is_refused(tmp_path, line):
    peg = make_task("peg_hole", 1)
    policy = make_policy("mlp", peg.spec.groups, 6)
    folder = save_policy(tmp_path / "peg", policy, task=task_record(peg.spec))
    peg.close()
    with RunFolder.open(tmp_path / "run", {}) as run:
        with pytest.raises(ValueError, match=r"init=.*was made for another world \(task: peg_hole, here line"):
            train_teacher("line", run, TeacherConfig(init=folder, **LINE))
        with pytest.raises(ValueError, match="no such policy folder"):
            train_teacher("line", run, TeacherConfig(init=tmp_path / "nothing", **LINE))


def test_wrong_settings_are_named(tmp_path, line):
    with RunFolder.open(tmp_path / "run", {}) as run:
        with pytest.raises(ValueError, match="did you mean 'epochs'"):
            train_teacher("line", run, TeacherConfig(**{**LINE, "ppo": {"epoch": 3}}))
        with pytest.raises(ValueError, match="did you mean privileged"):
            train_teacher("line", run, TeacherConfig(critic=("priviledged",), **LINE))
        with pytest.raises(ValueError, match="critic: name at least one"):
            train_teacher("line", run, TeacherConfig(critic=(), **LINE))
        with pytest.raises(ValueError, match="network: plans several actions .* train residual base="):
            planner = {"name": "mlp_chunk", "vectors": ["proprio"], "horizon": 4, "width": 8, "blocks": 1}
            train_teacher("line", run, TeacherConfig(**{**LINE, "network": planner}))
        with pytest.raises(ValueError, match="ppo.critic_warmup=1000 iterations"):
            train_teacher("line", run, TeacherConfig(**{**LINE, "ppo": {**LINE["ppo"], "critic_warmup": 1000}}))
        with pytest.raises(ValueError, match="did you mean 'hidden'"):
            train_teacher("line", run, TeacherConfig(**{**LINE, "network": {"hiden": [8]}}))
        with pytest.raises(ValueError, match="ppo.orthogonal draws new weights"):
            ppo = {**LINE["ppo"], "orthogonal": True}
            train_teacher("line", run, TeacherConfig(**{**LINE, "init": tmp_path / "student", "ppo": ppo}))
        with pytest.raises(ValueError, match="ppo.hold=0.5 .* say init="):
            train_teacher("line", run, TeacherConfig(**{**LINE, "ppo": {**LINE["ppo"], "hold": 0.5}}))


def test_evaluation_ends_with_each_episode():
    task = Line(64, wall=True)
    policy = make_policy("mlp", task.spec.groups, 2, head_scale=1.0, hidden=(8,))
    policy.layers[-1].bias.data[0] = 9.0
    # Always full speed to the right: over the wall in step 4, never back.
    success, mean_return = loop.success_and_return(policy, task)
    assert success == 0.0
    expected = -sum(abs(0.5 * t - task.goal_N) for t in range(1, 5)).mean()
    assert mean_return == pytest.approx(expected, abs=1e-6)

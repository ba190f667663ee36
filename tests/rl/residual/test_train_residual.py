"""Training a residual in a run folder: what it keeps, that it goes on in the same bits, what it refuses."""

import json

import numpy as np
import pytest
from embodkd.envs.seeds import LEARNING_JUDGE
from embodkd.policies import load_policy, make_policy, save_policy, task_record
from reach_task import Reach
from residual_parts import make_base

from embodkd.core import RunFolder
from embodkd.rl import loop
from embodkd.rl.loop import success_and_return
from embodkd.rl.residual.config import LEARNERS, ResidualConfig
from embodkd.rl.residual.ppo import ResidualPPO
from embodkd.rl.residual.td3 import ResidualTD3
from embodkd.rl.residual.train import train_residual

ITERATION = 16 * 12
SETTINGS = {
    "learner": "ppo",
    "steps": 6 * ITERATION,
    "ppo": {"num_envs": 16, "epochs": 2, "minibatches": 2, "actor_warmup": 1, "normalise_rewards": True},
    "td3": {
        "num_envs": 16,
        "steps": 12,
        "every": 4,
        "batch_size": 32,
        "warmup": ITERATION,
        "critic_warmup": ITERATION,
        "rewarded": 0.5,
        "cautious": True,
    },
    "residual": {"alpha": 0.3, "hidden": [32]},
    "evaluate_every": 2 * ITERATION,
    "evaluate_episodes": 16,
    "checkpoint_every": 2 * ITERATION,
    "quiet": True,
}


@pytest.fixture(autouse=True)
def reach(monkeypatch):
    """Lets train_residual train on the toy task."""
    monkeypatch.setattr(loop, "make_task", lambda name, num_envs, **_: Reach(num_envs))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "policy"
    lineage = {"method": "chunk_bc"}
    return save_policy(folder, make_base(fitted=True), task=task_record(Reach(1).spec), lineage=lineage)


def train(folder, base, resume=False, **changed):
    with RunFolder.open(folder, {}, resume=resume) as run:
        return train_residual("reach", run, ResidualConfig(base=base, **{**SETTINGS, **changed})), run.metrics()


def files(folder):
    return {p: (folder / p).read_bytes() for p in ("policy/model.safetensors", "policy_last/model.safetensors")}


def metrics(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "time_s"} for row in rows]


def test_keeps_best_and_last_and_starts_with_what_the_base_can_do(tmp_path, base):
    summary, rows = train(tmp_path / "run", base)
    evaluations = {r["step"]: r["evaluation/success"] for r in rows if "evaluation/success" in r}
    assert list(evaluations) == [0, *(k * ITERATION for k in (2, 4, 6))]
    assert evaluations[0] == success_and_return(load_policy(base)[0], Reach(16))[0]
    assert summary.steps == 6 * ITERATION and summary.best_success == max(evaluations.values())
    best, meta = load_policy(summary.policy)
    assert success_and_return(best, Reach(16))[0] == summary.best_success
    assert meta["lineage"]["method"] == "resip"
    assert meta["lineage"]["base"] == {"policy": str(base), "lineage": {"method": "chunk_bc"}}
    last, meta = load_policy(tmp_path / "run" / "policy_last")
    assert meta["extra"]["steps"] == 6 * ITERATION
    assert success_and_return(last, Reach(16))[0] == summary.success
    original = load_policy(base)[0].state_dict()
    assert all((last.base.state_dict()[name] == value).all() for name, value in original.items())
    wanted = {"train/kl", "train/counted_share", "train/correction", "rollout/success_rate", "rollout/ep_rew_mean"}
    assert wanted <= set().union(*rows)


@pytest.mark.parametrize("iterations", [1, 3, 4])
@pytest.mark.parametrize("learner", LEARNERS)
def test_interrupted_anywhere_it_ends_in_the_same_bits(tmp_path, base, monkeypatch, learner, iterations):
    train(tmp_path / "whole", base, learner=learner)
    kind = {"ppo": ResidualPPO, "td3": ResidualTD3}[learner]
    learn, done = kind.learn, []

    def stop(learner, *args, **more):
        if len(done) == iterations:
            raise KeyboardInterrupt
        done.append(learn(learner, *args, **more))

    monkeypatch.setattr(kind, "learn", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", base, learner=learner)
    monkeypatch.undo()
    monkeypatch.setattr(loop, "make_task", lambda name, num_envs, **_: Reach(num_envs))
    train(tmp_path / "cut", base, resume=True, learner=learner)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


def test_stops_after_two_good_evaluations_in_a_row(tmp_path, base):
    summary, _ = train(tmp_path / "run", base, target=0.0)
    assert summary.stopped_early and summary.steps == 2 * ITERATION
    before = files(tmp_path / "run")
    again, _ = train(tmp_path / "run", base, resume=True, target=0.0)
    assert again.steps == summary.steps and files(tmp_path / "run") == before


def test_a_base_that_does_not_fit_is_refused(tmp_path, base):
    spec = Reach(1).spec
    other = save_policy(tmp_path / "other", make_base(), task={**task_record(spec), "name": "peg_assembly"})
    plain = save_policy(tmp_path / "plain", make_policy("mlp", spec.groups, 10), task=task_record(spec))
    for folder, message in (
        (other, r"base=.*was made for another world .task: peg_assembly, here reach"),
        (plain, r"base=.*a mlp predicts no chunks of actions.*student=diffusion"),
        (tmp_path / "nothing", "no such policy folder"),
    ):
        with pytest.raises(ValueError, match=message):
            train(tmp_path / "run", folder, resume=True)


def test_wrong_settings_are_named(tmp_path, base):
    for changed, message in (
        ({"ppo": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"learner": "sac"}, "choose one of td3, ppo"),
        ({"learner": "td3", "td3": {"stepz": 3}}, "did you mean 'steps'"),
        ({"residual": {"alhpa": 3}}, "did you mean 'alpha'"),
        ({"residual": {"every": 3}}, "every=3 does not divide the 4 actions"),
    ):
        with pytest.raises(ValueError, match=message):
            train(tmp_path / "run", base, resume=True, **changed)


def test_evaluation_keeps_a_queue_per_copy(base):
    policy, task = load_policy(base)[0], Reach(16)
    together = success_and_return(policy, task)[0]
    alone = []
    for seed in range(16):
        alone.append(success_and_return(policy, Reach(1), LEARNING_JUDGE + seed)[0])
    assert together == np.mean(alone)

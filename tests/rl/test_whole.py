"""A training by reinforcement learning takes whole iterations, says so first, and then takes as many as it said."""

import re

import pytest
from embodkd.policies import save_policy, task_record
from reach_task import Reach
from residual_parts import make_base
from small_trainings import RESIDUAL_PPO, TD3, worlds

from embodkd.core import RunFolder
from embodkd.core.runs.progress import progress
from embodkd.rl import loop
from embodkd.rl.config import PPOConfig, TeacherConfig
from embodkd.rl.residual.config import ResidualConfig
from embodkd.rl.residual.train import train_residual
from embodkd.rl.train import train_teacher

RARELY = {"evaluate_every": 10_000, "evaluate_episodes": 1, "checkpoint_every": 10_000}
PPO = {"num_envs": 4, "n_steps": 12, "minibatch": 24, "epochs": 1}
ITERATION = 48
WHAT = {
    "teacher": "rollouts of 4 copies x 12 steps, two at least",
    "ppo": "episodes of 4 copies x 12 steps, one at least",
    "td3": "rollouts of 4 copies x 12 steps",
}


def train(learner, steps, folder, quiet=False):
    """The steps that a training took; its run folder is `folder`/run."""
    with worlds(), RunFolder.open(folder / "run", {}) as run:
        if learner == "teacher":
            config = TeacherConfig(steps=steps, ppo=PPO, network={"hidden": [8]}, quiet=quiet, **RARELY)
            return train_teacher("line", run, config).steps
        base = save_policy(folder / "base", make_base(), task=task_record(Reach(1).spec))
        given = {"ppo": {**RESIDUAL_PPO, "actor_warmup": 0}, "td3": TD3, "residual": {"hidden": [8]}, **RARELY}
        config = ResidualConfig(base=base, learner=learner, steps=steps, quiet=quiet, **given)
        return train_residual("reach", run, config).steps


@pytest.mark.parametrize(
    ("learner", "steps", "whole"),
    [
        ("teacher", 1, 2),  # the first rollout only gives the statistics of observations
        ("teacher", ITERATION, 2),
        ("teacher", 2 * ITERATION + 1, 3),
        ("ppo", 1, 1),
        ("ppo", 3 * ITERATION - 1, 2),
        ("td3", 1, 1),
        ("td3", 2 * ITERATION + 1, 3),
    ],
)
def test_steps_come_to_what_was_said_before_and_so_does_the_bar(learner, steps, whole, tmp_path, capsys, monkeypatch):
    bars = []
    monkeypatch.setattr(loop, "progress", lambda *a, **k: bars.append(progress(*a, **k)) or bars[-1])
    assert train(learner, steps, tmp_path) == whole * ITERATION
    assert [(bar.total, bar.done) for bar in bars] == [(whole * ITERATION, whole * ITERATION)]
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'run'}: {steps:,} steps are {whole * ITERATION:,}: whole {WHAT[learner]}\n"
    assert re.findall(r"(\d+)%", said.err) == ["100"]


def test_ppo_as_it_comes_takes_two_rollouts_at_least():
    assert [PPOConfig().whole(steps) for steps in (1, 4096, 8192, 8193, 9000)] == [8192, 8192, 8192, 12288, 12288]


@pytest.mark.parametrize(("learner", "whole"), [("teacher", 2), ("teacher", 3), ("ppo", 1), ("td3", 2)])
def test_steps_that_fit_are_not_spoken_of(learner, whole, tmp_path, capsys):
    assert train(learner, whole * ITERATION, tmp_path) == whole * ITERATION
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("learner", WHAT)
def test_quiet_says_nothing(learner, tmp_path, capsys):
    assert train(learner, 1, tmp_path, quiet=True) >= ITERATION
    assert capsys.readouterr() == ("", "")

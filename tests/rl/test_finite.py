"""A learner that blows up is stopped by name, and nothing that is not finite is written over what is."""

import numpy as np
import pytest
import torch
from embodkd.policies import load_policy, residual_on, save_policy, task_record
from line_task import Line
from reach_task import Reach
from residual_parts import learn, make_base
from safetensors.torch import load_file
from test_ppo import make as make_ppo

from embodkd.core import RunFolder
from embodkd.rl import loop
from embodkd.rl.advantages import standardise
from embodkd.rl.config import TeacherConfig
from embodkd.rl.ppo import PPO
from embodkd.rl.residual.config import ResidualConfig, ResidualPPOConfig
from embodkd.rl.residual.env import ResidualEnv
from embodkd.rl.residual.ppo import ResidualPPO
from embodkd.rl.residual.td3 import ResidualTD3
from embodkd.rl.residual.train import train_residual
from embodkd.rl.train import train_teacher

EVERY = {"evaluate_every": 48, "evaluate_episodes": 2, "checkpoint_every": 48, "quiet": True}
PPO_SETTINGS = {"num_envs": 4, "n_steps": 12, "minibatch": 24, "epochs": 1}
TD3 = {"num_envs": 4, "steps": 12, "every": 8, "batch_size": 8, "warmup": 0, "critic_warmup": 0, "policy_delay": 1}
# learner -> (its class, its inner step, the part of its network that is poisoned)
LEARNERS = {
    "teacher": (PPO, "_step", "critic.layers.0.weight"),
    "ppo": (ResidualPPO, "_step", "critic"),
    "td3": (ResidualTD3, "_update", "critic.qf1"),
}


@pytest.fixture
def train(tmp_path, monkeypatch):
    """`train(learner)` trains it for four iterations or so in tmp_path/run, resuming."""
    worlds = {"line": Line, "reach": Reach}
    monkeypatch.setattr(loop, "make_task", lambda name, num_envs, **_: worlds[name](num_envs))
    base = save_policy(tmp_path / "base", make_base(), task=task_record(Reach(1).spec))

    def run(learner, folder="run"):
        with RunFolder.open(tmp_path / folder, {}, resume=True) as opened:
            if learner == "teacher":
                config = TeacherConfig(steps=5 * 48, ppo=PPO_SETTINGS, network={"hidden": [8]}, **EVERY)
                return train_teacher("line", opened, config)
            given = {"ppo": {"ppo": {"num_envs": 4, "epochs": 1, "minibatches": 1}}, "td3": {"td3": TD3}}[learner]
            config = ResidualConfig(
                base=base, steps=4 * 48, learner=learner, residual={"hidden": [8]}, **given, **EVERY
            )
            return train_residual("reach", opened, config)

    return run


def finite(folder):
    tensors = load_file(folder)
    return all(torch.isfinite(v).all() for v in tensors.values() if v.is_floating_point())


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_blew_up_is_named_with_its_step_and_never_written(learner, train, tmp_path, monkeypatch):
    kind, inner, part = LEARNERS[learner]
    train(learner, "whole")
    step, calls = getattr(kind, inner), []

    def poisoned(self, batch):
        found = step(self, batch)
        calls.append(1)
        if self.num_timesteps > 100:
            name, parameter = next((n, p) for n, p in self.policy.named_parameters() if n.startswith(part))
            parameter.data.view(-1)[0] = torch.nan
            calls.append(name)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(kind, inner, poisoned)
        for _ in range(2):  # resumed, it comes to the same end and still loses nothing
            with pytest.raises(FloatingPointError) as error:
                train(learner)
            assert str(error.value).startswith("step 144: ") and f"{calls[-1]} is not finite" in str(error.value)
    saved = sorted((tmp_path / "run" / "checkpoints").glob("*/tensors.safetensors"))
    assert saved and all(finite(file) for file in saved)
    assert finite(tmp_path / "run" / "policy" / "model.safetensors") and not (tmp_path / "run" / "policy_last").exists()
    train(learner)
    ends = [load_policy(tmp_path / name / "policy_last")[0].state_dict() for name in ("run", "whole")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])


@pytest.mark.parametrize("source", ["the task's rewards", "the critic's values"])
def test_what_is_learned_from_is_named_not_the_simulator(source):
    learner = make_ppo(num_envs=4)
    learn(learner)
    if source == "the task's rewards":
        learner.stream.task._advance = lambda actions: (np.full(4, np.inf), np.zeros(4, int), np.zeros(4, bool))
    else:
        learner.policy.values = lambda obs: torch.full((len(obs["proprio"]),), torch.inf)
    with pytest.raises(FloatingPointError, match=rf"step \d+: {source} are not finite"):
        learn(learner)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_advantages_of_few_rows_are_finite_and_centred(count):
    found = standardise(torch.arange(float(count)) + 5.0)
    assert torch.isfinite(found).all() and found.sum().abs() < 1e-6


def test_a_last_minibatch_of_one_row_leaves_the_residual_finite():
    torch.manual_seed(0)
    config = ResidualPPOConfig(num_envs=7, epochs=2, minibatches=3, mask=False)
    policy = residual_on(make_base(), alpha=0.3)
    learner = ResidualPPO(ResidualEnv(Reach(7, max_steps=1), policy, config, 0), config, 10)
    sizes, step = [], learner._step
    learner._step = lambda batch: (sizes.append(len(batch.return_N)), step(batch))[1]
    before = [p.clone() for p in learner.policy.actor_parameters]
    learn(learner, 2)
    assert sizes[:3] == [3, 3, 1]
    after = learner.policy.actor_parameters
    assert all(p.isfinite().all() for p in after) and any((a != b).any() for a, b in zip(after, before, strict=True))

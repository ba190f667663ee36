"""A learner that blows up is stopped by name, and nothing that is not finite is written over what is."""

import numpy as np
import pytest
import torch
from embodkd.policies import residual_on
from reach_task import Reach
from residual_parts import learn, make_base
from safetensors.torch import load_file
from small_trainings import LEARNERS, trained
from test_ppo import make as make_ppo

from embodkd.rl.advantages import standardise
from embodkd.rl.residual.config import ResidualPPOConfig
from embodkd.rl.residual.env import ResidualEnv
from embodkd.rl.residual.ppo import ResidualPPO


def finite(folder):
    tensors = load_file(folder)
    return all(torch.isfinite(v).all() for v in tensors.values() if v.is_floating_point())


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_blew_up_is_named_with_its_step_and_never_written(learner, tmp_path, monkeypatch):
    kind, inner, part = LEARNERS[learner]
    whole = trained(learner, tmp_path / "whole")
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
                trained(learner, tmp_path / "run")
            assert str(error.value).startswith("step 144: ") and f"{calls[-1]} is not finite" in str(error.value)
    saved = sorted((tmp_path / "run" / "checkpoints").glob("*/tensors.safetensors"))
    assert saved and all(finite(file) for file in saved)
    assert finite(tmp_path / "run" / "policy" / "model.safetensors") and not (tmp_path / "run" / "policy_last").exists()
    assert trained(learner, tmp_path / "run") == whole


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

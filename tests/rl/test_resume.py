"""Every registered policy, improved by reinforcement learning, goes on bit for bit, however its weights lie."""

import numpy as np
import pytest
import torch
from embodkd.policies import POLICIES, load_policy, make_policy, save_policy, task_record
from every_network import POLICY_ARGUMENTS
from line_task import Seen
from toy import Stopped, fingerprint

from embodkd.core import RunFolder
from embodkd.rl import loop
from embodkd.rl.config import TeacherConfig
from embodkd.rl.ppo import PPO
from embodkd.rl.train import train_teacher

ITERATION = 4 * 3
SETTINGS = {
    "steps": 4 * ITERATION,
    "ppo": {"num_envs": 4, "n_steps": 3, "minibatch": 12, "epochs": 1},
    "evaluate_every": 10 * ITERATION,
    "evaluate_episodes": 1,
    "checkpoint_every": ITERATION,
    "quiet": True,
}


@pytest.mark.parametrize("name", POLICIES.names())
def test_interrupted_after_two_iterations_it_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "make_task", lambda name, num_envs, **_: Seen(num_envs))
    torch.manual_seed(0)
    spec = Seen(1).spec
    student = make_policy(name, spec.groups, spec.action_size, **POLICY_ARGUMENTS.get(name, {}))
    world = Seen(16)
    world.reset(np.arange(16))
    student.update_statistics({**world.observe(student.reads), "target": np.eye(2, dtype=np.float32)})
    init = save_policy(tmp_path / "student", student, task=task_record(spec))

    def run(folder):
        with RunFolder.open(tmp_path / folder, {}, resume=True) as opened:
            train_teacher("line", opened, TeacherConfig(init=init, **SETTINGS))
        return fingerprint(load_policy(tmp_path / folder / "policy_last")[0])

    whole, learn, made = run("whole"), PPO.learn, []

    def stop_at_the_third(learner, *args, **more):
        if len(made) == 2:
            raise Stopped
        made.append(learn(learner, *args, **more))

    with monkeypatch.context() as patched:
        patched.setattr(PPO, "learn", stop_at_the_third)
        with pytest.raises(Stopped):
            run("cut")
    assert run("cut") == whole != fingerprint(student)

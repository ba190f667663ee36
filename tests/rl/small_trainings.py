"""Trainings by reinforcement learning that take a second: every learner, and PPO on every policy that it takes."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from embodkd.policies import (
    POLICIES,
    ChunkPolicy,
    ResidualPolicy,
    load_policy,
    make_policy,
    save_policy,
    task_record,
)
from every_network import POLICY_ARGUMENTS
from line_task import Line, Seen
from reach_task import Reach
from residual_parts import make_base
from toy import fingerprint

from embodkd.core import RunFolder
from embodkd.rl import loop
from embodkd.rl.config import TeacherConfig
from embodkd.rl.ppo import PPO
from embodkd.rl.residual.config import ResidualConfig
from embodkd.rl.residual.ppo import ResidualPPO
from embodkd.rl.residual.td3 import ResidualTD3
from embodkd.rl.residual.train import train_residual
from embodkd.rl.train import train_teacher

EVERY = {"evaluate_every": 48, "evaluate_episodes": 2, "checkpoint_every": 48, "quiet": True}
TD3 = {"num_envs": 4, "steps": 12, "every": 8, "batch_size": 8, "warmup": 0, "critic_warmup": 0, "policy_delay": 1}
RESIDUAL_PPO = {"num_envs": 4, "epochs": 1, "minibatches": 1, "actor_warmup": 1}
# learner -> (its class, its inner step, the part of its network that may be poisoned)
LEARNERS = {
    "teacher": (PPO, "_step", "critic.layers.0.weight"),
    "ppo": (ResidualPPO, "_step", "critic"),
    "td3": (ResidualTD3, "_update", "critic.qf1"),
}
# three iterations, the first of which collects twice
ITERATION = 4 * 3
IMPROVED = {
    "steps": 4 * ITERATION,
    "ppo": {"num_envs": 4, "n_steps": 3, "minibatch": 12, "epochs": 1, "hold": 0.1},
    "evaluate_every": 10 * ITERATION,
    "evaluate_episodes": 1,
    "checkpoint_every": ITERATION,
    "quiet": True,
}
# the others act on what they planned, and PPO refuses them
ONE_ACTION = [name for name in POLICIES.names() if not issubclass(POLICIES.get(name), ChunkPolicy | ResidualPolicy)]
WORLDS = {"line": Line, "seen": Seen, "reach": Reach}


def worlds():
    """Inside, trainings run on the toy tasks."""
    return patch.object(loop, "make_task", lambda name, num_envs, **_: WORLDS[name](num_envs))


def trained(learner: str, folder: Path) -> bytes:
    """Some iterations by `learner` in `folder`, going on there; the weights of its last policy."""
    base = folder.with_name("base")
    with worlds(), RunFolder.open(folder, {}, resume=True) as run:
        if learner == "teacher":
            ppo = {"num_envs": 4, "n_steps": 12, "minibatch": 24, "epochs": 1}
            train_teacher("line", run, TeacherConfig(steps=5 * 48, ppo=ppo, network={"hidden": [8]}, **EVERY))
        else:
            save_policy(base, make_base(), task=task_record(Reach(1).spec))
            given = {"steps": 4 * 48, "ppo": RESIDUAL_PPO, "td3": TD3, **EVERY}
            config = ResidualConfig(base=base, learner=learner, residual={"hidden": [8]}, **given)
            train_residual("reach", run, config)
    return fingerprint(load_policy(folder / "policy_last")[0])


def improved(name: str, folder: Path) -> bytes:
    """A policy of `ONE_ACTION`, improved by PPO in `folder`, going on there; its weights."""
    torch.manual_seed(0)
    world = Seen(16)
    student = make_policy(name, world.spec.groups, world.spec.action_size, **POLICY_ARGUMENTS.get(name, {}))
    world.reset(np.arange(16))
    student.update_statistics({**world.observe(student.reads), "target": np.eye(2, dtype=np.float32)})
    init = save_policy(folder.with_name(f"{name} before"), student, task=task_record(world.spec))
    with worlds(), RunFolder.open(folder, {}, resume=True) as run:
        train_teacher("seen", run, TeacherConfig(init=init, **IMPROVED))
    return fingerprint(load_policy(folder / "policy_last")[0])

"""A base policy that comes close to what `Reach` asks for, but not close enough, and a learner on top of it."""

import numpy as np
import torch
from embodkd.policies import make_policy, residual_on
from reach_task import Reach

from embodkd.rl.residual.config import ResidualPPOConfig
from embodkd.rl.residual.env import ResidualEnv
from embodkd.rl.residual.ppo import ResidualPPO


def make_base(horizon=4, shift=0.14, fitted=False):
    """Knows the goal, but stops `shift` short of it along x; `fitted`: has learned that, else only its ranges."""
    torch.manual_seed(0)
    task = Reach(256)
    task.reset(np.arange(256))
    policy = make_policy("mlp_chunk", task.spec.groups, 10, width=32, blocks=1, horizon=horizon, dropout=0.0)
    rows = task.observe(policy.reads)
    targets = np.zeros((256, 10), np.float32)
    targets[:, :3] = task.goal_N3 + [shift, 0, 0]
    policy.fit_normalisers(rows, np.concatenate([targets, -np.ones((1, 10), np.float32), np.ones((1, 10), np.float32)]))
    if fitted:
        obs = {name: torch.from_numpy(values) for name, values in rows.items()}
        chunks_NHA = torch.from_numpy(targets)[:, None].repeat(1, horizon, 1)
        optimiser = torch.optim.Adam(policy.parameters(), 3e-3)
        for _ in range(300):
            optimiser.zero_grad()
            policy.loss(obs, chunks_NHA).mean().backward()
            optimiser.step()
    return policy.eval()


def make_learner(num_envs=16, base=None, every=1, alpha=0.3, iterations=100, seed=0, fine_tune=False, **settings):
    torch.manual_seed(seed)
    policy = residual_on(base or make_base(), every=every, alpha=alpha, fine_tune=fine_tune)
    config = ResidualPPOConfig(**{"num_envs": num_envs, "epochs": 2, "minibatches": 2, **settings})
    return ResidualPPO(ResidualEnv(Reach(num_envs), policy, config, seed), config, iterations, seed)


def learn(learner, iterations=1, **more):
    for _ in range(iterations):
        learner.learn(1, log_interval=None, reset_num_timesteps=False, **more)
    return learner

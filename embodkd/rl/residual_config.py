"""The settings of PPO for a residual policy, and its learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class ResidualConfig:
    """One iteration is one whole episode in each of `num_envs` copies, then up to `epochs` passes over its steps.

    Source: arXiv 2407.16677 and its code (1024 copies, up to 50 passes in one minibatch there).
    """

    num_envs: int = 64
    epochs: int = 10
    minibatches: int = 4
    gamma: float = 0.999
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.0
    # An iteration's updates end with the minibatch that found the policy this far from the old one; None: they do not.
    kl_stop: float | None = 0.1
    # Logarithm of the exploration noise, in units of alpha, and whether it is learned.
    log_std: float = -1.0
    learn_log_std: bool = False
    # Both fall to 0 along a cosine; the actor's first climbs from 0 over `actor_warmup` iterations.
    actor_rate: float = 3e-4
    critic_rate: float = 5e-3
    actor_warmup: int = 5
    weight_decay: float = 1e-6
    adam_eps: float = 1e-5
    value_weight: float = 1.0
    max_grad_norm: float = 1.0
    # Steps after an episode's end are left out; False keeps them with a return of 0, as the released code does.
    mask: bool = True
    # An episode cut off by time goes on in the value of its last state; the released code ends it there.
    bootstrap: bool = False
    # Rewards are divided by their running standard deviation and clipped to +-5.
    normalise_rewards: bool = False
    # Weight of staying the base: the mean of -log p(action) under the Gaussian around the base's own, up to a constant.
    stay: float = 0.0
    # Iterations at the start that train only the critic.
    critic_warmup: int = 0

    def __post_init__(self) -> None:
        for name in ("num_envs", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"ppo.{name} is {getattr(self, name)}; it must be at least 1")
        if self.minibatches > self.num_envs:
            raise ValueError(
                f"ppo.minibatches={self.minibatches} is more than ppo.num_envs={self.num_envs}: too few steps for each"
            )


def rate_factor(iteration: int, total: int, warmup: int = 0) -> float:
    """What a learning rate is multiplied by in training iteration 0, 1, ... of `total`: see ResidualConfig."""
    if iteration < warmup:
        return iteration / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (iteration - warmup) / max(1, total - warmup))))

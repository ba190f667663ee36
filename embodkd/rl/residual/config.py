"""The settings of a residual's training and of its two learners."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from embodkd.core.config.ranges import Copies, Count, NotNegative, Part, Positive, Share, Some, Whole, Width, Within
from embodkd.rl.config import LoopConfig

LEARNERS = ("td3", "ppo")


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(LoopConfig):
    """What a residual is, and how it is trained.

    base: the folder of the policy that it corrects. residual: settings of ResidualPolicy (alpha, every, hidden,
    sees_base). learner: "td3" with settings of TD3Config, or ResiP's "ppo", which throws its steps away, with those of
    ResidualPPOConfig. end_when_lost: episodes end, worth nothing, where the task says that they are lost; nothing is
    judged so. ValueError for another learner.
    """

    base: str | Path
    steps: Count = 200_000
    evaluate_every: Count = 64_000
    checkpoint_every: Count = 64_000
    end_when_lost: bool = False
    residual: Mapping[str, Any] = field(default_factory=dict)
    learner: Literal["td3", "ppo"] = "td3"
    td3: Mapping[str, Any] = field(default_factory=dict)
    ppo: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.learner not in LEARNERS:
            raise ValueError(f"learner is {self.learner!r}; choose one of {', '.join(LEARNERS)}")


@dataclass(frozen=True)
class TD3Config:
    """One iteration is `steps` control steps in each of `num_envs` copies, then a gradient step per `every` of them."""

    num_envs: Copies = 64
    steps: Count = 32
    every: Count = 4
    batch_size: Count = 128
    gamma: Share = 0.97
    # Rewards are added up over this many steps before the critic is asked what follows.
    n_steps: Count = 5
    # Share of each batch from episodes that earned something.
    rewarded: Part = 0.0
    # Standard deviations of the noise on actions and on the targets' actions, in units of alpha.
    noise: NotNegative = 0.05
    target_noise: NotNegative = 0.03
    actor_rate: NotNegative = 1e-4
    critic_rate: NotNegative = 3e-4
    critic_hidden: tuple[Width, ...] = (128, 128)
    tau: Some = 0.01
    policy_delay: Count = 2
    # Weight of the mean square of the corrections (ResiP's c_2): far from a reward, where a critic hardly tells actions
    # apart, the base's own shall stand.
    penalty: NotNegative = 0.1
    # The critics begin without an opinion of corrections, and the actor climbs the lower of both values: where few
    # episodes of the base are rewarded, it otherwise unlearns these first.
    cautious: bool = False
    # Control steps of the base with noise before any learning, and then of a critic that learns alone.
    warmup: Whole = 10_000
    critic_warmup: Whole = 10_000

    def __post_init__(self) -> None:
        for name in ("num_envs", "steps", "every", "batch_size", "n_steps", "policy_delay"):
            if getattr(self, name) < 1:
                raise ValueError(f"td3.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0.0 <= self.rewarded < 1.0:
            raise ValueError(f"td3.rewarded is {self.rewarded}; it must be at least 0 and less than 1")

    def whole(self, steps: int) -> int:
        """Control steps of a training asked for `steps`: whole iterations."""
        iteration = self.num_envs * self.steps
        return -(-steps // iteration) * iteration

    def check_steps(self, steps: int) -> None:
        """ValueError if a training of so many control steps is over before its actor learns anything."""
        if self.warmup + self.critic_warmup >= steps:
            raise ValueError(
                f"td3.warmup + td3.critic_warmup = {self.warmup} + {self.critic_warmup} is all of steps={steps}: the "
                "actor would learn nothing; take fewer, or more steps"
            )


@dataclass(frozen=True)
class ResidualPPOConfig:
    """One iteration is one whole episode in each of `num_envs` copies, then up to `epochs` passes over its steps.

    Source: arXiv 2407.16677 and its code (1024 copies, up to 50 passes in one minibatch there).
    """

    num_envs: Copies = 64
    epochs: Count = 10
    minibatches: Count = 4
    gamma: Share = 0.999
    gae_lambda: Share = 0.95
    clip: Positive = 0.2
    entropy: NotNegative = 0.0
    # An iteration's updates end with the minibatch that found the policy this far from the old one; None: they do not.
    kl_stop: Positive | None = 0.1
    # Logarithm of the exploration noise, in units of alpha, and whether it is learned.
    log_std: Annotated[float, Within(-20.0, 5.0)] = -1.0
    learn_log_std: bool = False
    # Both fall to 0 along a cosine; the actor's first climbs from 0 over `actor_warmup` iterations.
    actor_rate: NotNegative = 3e-4
    critic_rate: NotNegative = 5e-3
    actor_warmup: Whole = 5
    weight_decay: NotNegative = 1e-6
    adam_eps: Positive = 1e-5
    value_weight: NotNegative = 1.0
    max_grad_norm: Positive = 1.0
    # Steps after an episode's end are left out; False keeps them with a return of 0, as the released code does.
    mask: bool = True
    # An episode cut off by time goes on in the value of its last state; the released code ends it there.
    bootstrap: bool = False
    # Rewards are divided by their running standard deviation and clipped to +-5.
    normalise_rewards: bool = False
    # Weight of staying the base: the mean of -log p(action) under the Gaussian around the base's own, up to a constant.
    stay: NotNegative = 0.0
    # Iterations at the start that train only the critic.
    critic_warmup: Whole = 0

    def __post_init__(self) -> None:
        for name in ("num_envs", "epochs", "minibatches"):
            if getattr(self, name) < 1:
                raise ValueError(f"ppo.{name} is {getattr(self, name)}; it must be at least 1")
        if self.minibatches > self.num_envs:
            raise ValueError(
                f"ppo.minibatches={self.minibatches} is more than ppo.num_envs={self.num_envs}: too few steps for each"
            )

    def check_iterations(self, iterations: int, steps: int) -> None:
        """ValueError if a training of so many iterations of `steps` control steps is over before its actor has learned
        anything, or has its rate."""
        for name in ("actor_warmup", "critic_warmup"):
            if (warmup := getattr(self, name)) and warmup >= iterations:
                raise ValueError(
                    f"ppo.{name} is {warmup} iterations of {steps} control steps, and there are {iterations}: the "
                    "actor would not come to learn; take fewer, or more steps"
                )


def rate_factor(iteration: int, total: int, warmup: int = 0) -> float:
    """What a learning rate is multiplied by in training iteration 0, 1, ... of `total`: see ResidualPPOConfig."""
    if iteration < warmup:
        return iteration / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (iteration - warmup) / max(1, total - warmup))))

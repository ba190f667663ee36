"""The settings of a training by reinforcement learning, of a teacher's, and of PPO.

Each difference from stable-baselines3's own PPO can be switched off by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embodkd.core.config.ranges import Copies, Count, EpisodeSeed, NotNegative, Positive, Share, Threads, Whole


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long a training goes on, and how often it is judged and put down. Steps are control steps of all copies.

    target: stop when two evaluations in a row reach this success share; None: never. torch_threads: of the learner.
    transfer: a policy that it starts from may have been made for another world.
    """

    seed: EpisodeSeed = 0
    steps: Count = 160_000
    target: Share | None = None
    evaluate_every: Count = 32_768
    evaluate_episodes: Copies = 64
    checkpoint_every: Count = 65_536
    torch_threads: Threads = 1
    transfer: bool = False
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class TeacherConfig(LoopConfig):
    """What a teacher is, and how PPO trains it.

    init: a policy folder to start from instead of a new `network`; its observation statistics stay as they are.
    network: the options of a policy, and its "name" if it is not an "mlp". critic: the groups that the critic reads.
    ppo: settings of PPOConfig.
    """

    init: str | Path | None = None
    network: Mapping[str, Any] = field(default_factory=dict)
    critic: tuple[str, ...] = ("proprio", "privileged")
    ppo: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PPOConfig:
    """One iteration is `num_envs` * `n_steps` control steps, then `epochs` passes in minibatches.

    Steps are counted over all copies. `STOCK` below has the seven differences switched off.
    """

    num_envs: Copies = 256
    n_steps: Count = 16
    epochs: Count = 4
    minibatch: Count = 1024
    gamma: Share = 0.97
    gae_lambda: Share = 0.95
    clip: Positive = 0.2
    entropy: NotNegative = 0.0
    # Standard deviation of the exploration noise at the start; it is learned.
    init_std: Positive = 0.8
    learning_rate: Positive = 5e-4
    # 1. The actor's rate follows the KL divergence that an iteration caused; None: it stays.
    kl_target: Positive | None = 0.015
    # 2. The critic has this rate of its own; None: it shares the actor's.
    critic_rate: Positive | None = 5e-4
    # 3. Orthogonal initial weights, or torch's.
    orthogonal: bool = False
    # 4. Gradients of actor and critic are clipped apart, or as one vector.
    split_clip: bool = True
    max_grad_norm: Positive = 1.0
    # 5. Advantages are normalised over the whole batch, or in each minibatch.
    batch_advantages: bool = True
    # 6. The critic predicts standardised returns (van Hasselt et al. 2016), or returns as they are.
    normalise_values: bool = True
    # 7. Weight of the value loss, and Adam's epsilon.
    value_weight: NotNegative = 1.0
    adam_eps: Positive = 1e-8
    # Iterations at the start that train only the critic (for an actor that already knows something).
    critic_warmup: Whole = 0
    # Weight of the KL divergence from the policy that it starts from (kickstarting, Schmitt et al. 2018), and the
    # iterations after the critic's over which it falls to 0.
    hold: NotNegative = 0.0
    hold_iterations: Count = 100

    def __post_init__(self) -> None:
        for name, least in {"num_envs": 1, "n_steps": 1, "epochs": 1, "minibatch": 2, "hold_iterations": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"ppo.{name} is {getattr(self, name)}; it must be at least {least}")
        if (self.num_envs * self.n_steps) % self.minibatch:
            raise ValueError(
                f"ppo.minibatch={self.minibatch} does not divide num_envs * n_steps = {self.num_envs} * "
                f"{self.n_steps} = {self.num_envs * self.n_steps}; choose one that does"
            )

    def hold_at(self, iteration: int) -> float:
        """How much the actor is held to what it was, in this iteration."""
        learned = max(0, iteration - self.critic_warmup)
        return self.hold * max(0.0, 1.0 - learned / self.hold_iterations)

    def whole(self, steps: int) -> int:
        """Control steps of a training asked for `steps`: whole iterations, the first of which collects twice."""
        iteration = self.num_envs * self.n_steps
        return max(2, -(-steps // iteration)) * iteration

    def check_steps(self, steps: int, where: str) -> None:
        """ValueError if a training of so many control steps is over before its actor learns anything."""
        iteration = self.num_envs * self.n_steps
        if self.critic_warmup and self.critic_warmup * iteration >= steps:
            raise ValueError(
                f"{where}={self.critic_warmup} iterations of {iteration} control steps train the critic alone, and "
                f"there are {steps} steps in all: the actor would learn nothing; take fewer, or more steps"
            )


STOCK = {
    "kl_target": None,
    "critic_rate": None,
    "orthogonal": True,
    "split_clip": False,
    "max_grad_norm": 0.5,
    "batch_advantages": False,
    "normalise_values": False,
    "value_weight": 0.5,
    "adam_eps": 1e-5,
}
"""The differences switched off: stable-baselines3's PPO as shipped, on the same batches and networks."""

"""The settings of PPO; each difference from stable-baselines3's own PPO can be switched off by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PPOConfig:
    """One iteration is `num_envs` * `n_steps` control steps, then `epochs` passes in minibatches.

    Steps are counted over all copies. `STOCK` below has the seven differences switched off.
    """

    num_envs: int = 256
    n_steps: int = 16
    epochs: int = 4
    minibatch: int = 1024
    gamma: float = 0.97
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.0
    # Standard deviation of the exploration noise at the start; it is learned.
    init_std: float = 0.8
    learning_rate: float = 5e-4
    # 1. The actor's rate follows the KL divergence that an iteration caused; None: it stays.
    kl_target: float | None = 0.015
    # 2. The critic has this rate of its own; None: it shares the actor's.
    critic_rate: float | None = 5e-4
    # 3. Orthogonal initial weights, or torch's.
    orthogonal: bool = False
    # 4. Gradients of actor and critic are clipped apart, or as one vector.
    split_clip: bool = True
    max_grad_norm: float = 1.0
    # 5. Advantages are normalised over the whole batch, or in each minibatch.
    batch_advantages: bool = True
    # 6. The critic predicts standardised returns (van Hasselt et al. 2016), or returns as they are.
    normalise_values: bool = True
    # 7. Weight of the value loss, and Adam's epsilon.
    value_weight: float = 1.0
    adam_eps: float = 1e-8
    # Iterations at the start that train only the critic (for an actor that already knows something).
    critic_warmup: int = 0

    def __post_init__(self) -> None:
        for name in ("num_envs", "n_steps", "epochs", "minibatch"):
            if getattr(self, name) < 1:
                raise ValueError(f"ppo.{name} is {getattr(self, name)}; it must be at least 1")
        if (self.num_envs * self.n_steps) % self.minibatch:
            raise ValueError(
                f"ppo.minibatch={self.minibatch} does not divide num_envs * n_steps = {self.num_envs} * "
                f"{self.n_steps} = {self.num_envs * self.n_steps}; choose one that does"
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

"""TD3 of a residual policy: the same frozen base and small corrections as ResiP's, learned from every step ever made.

ResiP learns on-policy and throws each episode away; with 1024 copies on a GPU that is cheap. Its authors' later work,
"Residual Off-Policy RL for Finetuning Behavior Cloning Policies" (arXiv 2509.19301), keeps them: a replay buffer,
returns over several steps and a critic with layer normalisation. This is that idea on stable-baselines3's TD3
(Fujimoto et al. 2018), without demonstrations in the buffer: tried once on round_table_lite, half of each batch from
them made the residual lose what its base could do. `penalty`, `rewarded` and `cautious` are ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import Tensor, nn

from embodkd.policies import ResidualPolicy
from embodkd.rl.checkpoint import load_slots, slots, under
from embodkd.rl.residual_stream import ResidualStream
from embodkd.rl.rewarded_buffer import KEPT, RewardedBuffer


@dataclass(frozen=True)
class TD3Config:
    """One iteration is `steps` control steps in each of `num_envs` copies, then a gradient step per `every` of them."""

    num_envs: int = 64
    steps: int = 32
    every: int = 4
    batch_size: int = 256
    gamma: float = 0.97
    # Rewards are added up over this many steps before the critic is asked what follows.
    n_steps: int = 5
    # Share of each batch from episodes that earned something.
    rewarded: float = 0.0
    # Standard deviations of the noise on actions and on the targets' actions, in units of alpha.
    noise: float = 0.05
    target_noise: float = 0.03
    actor_rate: float = 1e-4
    critic_rate: float = 3e-4
    critic_hidden: tuple[int, ...] = (128, 128)
    tau: float = 0.01
    policy_delay: int = 2
    # Weight of the mean square of the corrections (ResiP's c_2): far from a reward, where a critic hardly tells actions
    # apart, the base's own shall stand.
    penalty: float = 0.1
    # The critics begin without an opinion of corrections, and the actor climbs the lower of both values: where few
    # episodes of the base are rewarded, it otherwise unlearns these first.
    cautious: bool = False
    # Control steps of the base with noise before any learning, and then of a critic that learns alone.
    warmup: int = 10_000
    critic_warmup: int = 10_000

    def __post_init__(self) -> None:
        for name in ("num_envs", "steps", "every", "batch_size", "n_steps", "policy_delay"):
            if getattr(self, name) < 1:
                raise ValueError(f"td3.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0.0 <= self.rewarded < 1.0:
            raise ValueError(f"td3.rewarded is {self.rewarded}; it must be at least 0 and less than 1")


class ResidualTD3(TD3):
    """See TD3Config. total_steps: what the buffer must hold; nothing is ever forgotten."""

    policy: ResidualTD3Policy
    replay_buffer: RewardedBuffer
    env: ResidualStream

    def __init__(self, env: ResidualStream, config: TD3Config, total_steps: int, seed: int = 0) -> None:
        self.config = config
        super().__init__(
            ResidualTD3Policy,
            env,
            learning_rate=config.actor_rate,
            buffer_size=total_steps + config.num_envs * config.steps,
            learning_starts=0,
            batch_size=config.batch_size,
            tau=config.tau,
            gamma=config.gamma,
            replay_buffer_class=RewardedBuffer,
            replay_buffer_kwargs={"n_steps": config.n_steps, "gamma": config.gamma, "share": config.rewarded},
            train_freq=config.steps,
            gradient_steps=max(1, config.num_envs * config.steps // config.every),
            policy_delay=config.policy_delay,
            target_policy_noise=config.target_noise,
            target_noise_clip=2 * config.target_noise,
            policy_kwargs={
                "residual": env.policy,
                "penalty": config.penalty,
                "cautious": config.cautious,
                "net_arch": {"pi": [], "qf": list(config.critic_hidden)},
                "optimizer_kwargs": {"fused": True},
            },
            seed=seed,
            device="cpu",
        )
        # Ours reads the values back from the logger; nothing is printed or written by it.
        self.set_logger(Logger(folder=None, output_formats=[]))

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """The updates of one iteration; none before there is enough to learn from."""
        if self.num_timesteps >= self.config.warmup:
            super().train(gradient_steps, batch_size)
            if not all(p.isfinite().all() for p in self.actor.parameters()):
                raise FloatingPointError(
                    f"step {self.num_timesteps}: the residual is no longer finite; the last checkpoint is intact; "
                    "look at the rewards, or lower td3.actor_rate or td3.critic_rate"
                )
        buffer = self.replay_buffer
        recent = slice(max(0, buffer.pos - self.config.steps), buffer.pos)
        ended = buffer.dones[recent] > 0
        if ended.any():
            self.logger.record("rollout/ep_rew_mean", float(buffer.rewards[recent].sum() / ended.sum()))
        self.logger.record("train/correction", float(np.abs(buffer.actions[recent]).mean()))

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors, JSON state): networks, optimisers, all steps so far, the running episodes."""
        net, buffer = self.policy, self.replay_buffer
        tensors: dict[str, Any] = {f"net.{name}": value for name, value in net.state_dict().items()}
        tensors |= {**slots(net.actor.optimizer, "actor."), **slots(net.critic.optimizer, "critic.")}
        tensors |= {f"buffer.{name}": getattr(buffer, name)[: buffer.pos] for name in KEPT}
        tensors |= {f"env.{name}": value for name, value in self.env.state_dict().items()}
        return {**tensors, "seen": self._last_obs}, {"updates": self._n_updates}

    def restore(self, tensors: dict[str, Any], state: Mapping[str, Any]) -> None:
        """Go on from a snapshot."""
        net = self.policy
        net.load_state_dict({n: torch.as_tensor(v) for n, v in under(tensors, "net.").items()})
        load_slots(net.actor.optimizer, under(tensors, "actor."))
        load_slots(net.critic.optimizer, under(tensors, "critic."))
        self.replay_buffer.fill(under(tensors, "buffer."))
        self.env.load_state_dict(under(tensors, "env."))
        self._last_obs = np.array(tensors["seen"])
        self._n_updates = state["updates"]

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        # noise around the base from the first step on, where stable-baselines3 would act at random
        with torch.no_grad():
            mean_NA = self.actor(torch.from_numpy(self._last_obs))
            action_NA = (mean_NA + self.config.noise * torch.randn_like(mean_NA)).clamp(-1.0, 1.0).numpy()
        return action_NA, action_NA

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        config = self.config
        waits = self.num_timesteps < config.warmup + config.critic_warmup
        self.actor.optimizer.param_groups[0]["lr"] = 0.0 if waits else config.actor_rate
        self.critic.optimizer.param_groups[0]["lr"] = config.critic_rate


class ResidualTD3Policy(TD3Policy):
    """The actor is the head of a residual policy; the critics are ours."""

    def __init__(
        self, *arguments: Any, residual: ResidualPolicy, penalty: float, cautious: bool, **options: Any
    ) -> None:
        self._residual = [residual]
        self._caution: dict[str, Any] = {"penalty": penalty, "cautious": cautious}
        super().__init__(*arguments, **options)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """The first is the head itself, the next one a copy: TD3's target."""
        actor = super().make_actor(features_extractor)
        head = self._residual[0].head
        layers = head if not hasattr(self, "actor") else copy.deepcopy(head)
        actor.mu = nn.Sequential(layers, nn.Tanh())
        return actor

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Critic:
        """See Critic."""
        return Critic(**self._update_features_extractor(self.critic_kwargs, features_extractor), **self._caution)


class Critic(ContinuousCritic):
    """stable-baselines3's, with layer normalisation after each hidden layer's product; the actor pays for what it
    corrects."""

    def __init__(self, *arguments: Any, penalty: float, cautious: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.penalty, self.cautious = penalty, cautious
        size = options["features_dim"] + get_action_dim(self.action_space)
        hidden = options["net_arch"]
        self.q_networks = [
            nn.Sequential(*create_mlp(size, 1, hidden, post_linear_modules=[nn.LayerNorm])) for _ in self.q_networks
        ]
        for index, network in enumerate(self.q_networks):
            setattr(self, f"qf{index}", network)
            if cautious:
                # What it believes of a correction shall come from what was tried, not from its first weights, or the
                # actor follows these at once, far from all that the base does.
                first = next(network.children())
                assert isinstance(first, nn.Linear)
                nn.init.zeros_(first.weight[:, options["features_dim"] :])

    def q1_forward(self, obs: Tensor, actions: Tensor) -> Tensor:
        """What the actor climbs, (N, 1): the first value, or the lower one, less the price of the corrections."""
        value_N1 = torch.minimum(*self(obs, actions)) if self.cautious else super().q1_forward(obs, actions)
        return value_N1 - self.penalty * actions.square().mean(1, keepdim=True)

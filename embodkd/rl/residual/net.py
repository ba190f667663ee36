"""Actor and critic of a residual policy, each with its own optimiser."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from embodkd.policies import ResidualPolicy
from embodkd.policies.residual import last_linear, relu_layers
from embodkd.rl.gaussian import GaussianActorCritic
from embodkd.rl.residual.config import ResidualPPOConfig
from embodkd.rl.residual.env import SEEN


class ResidualActorCritic(GaussianActorCritic):
    """`actor` is the head of a residual policy; the critic has `hidden` layers on the same input and starts at 0.25."""

    actor: nn.Module
    critic: nn.Sequential

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        residual: ResidualPolicy,
        config: ResidualPPOConfig,
        use_sde: bool = False,
    ) -> None:
        if use_sde:
            raise ValueError("ppo.use_sde: state-dependent noise is not supported here; leave it off")
        self._parts = (residual, config)
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[])

    def _build(self, lr_schedule: Schedule) -> None:
        residual, config = self._parts
        self.actor = residual.head
        self.critic = relu_layers([residual.seen_size, *residual.hidden, 1])
        value = last_linear(self.critic)
        nn.init.orthogonal_(value.weight, 0.25)
        nn.init.constant_(value.bias, 0.25)
        self.log_std = nn.Parameter(torch.full((residual.outputs,), config.log_std), requires_grad=config.learn_log_std)
        self.critic_parameters = list(self.critic.parameters())
        self.actor_parameters = list(self.actor.parameters())
        if config.learn_log_std:
            self.actor_parameters.append(self.log_std)
        settings: dict[str, Any] = {"eps": config.adam_eps, "weight_decay": config.weight_decay, "fused": True}
        self.optimizer = torch.optim.AdamW(self.actor_parameters, config.actor_rate, **settings)
        self.critic_optimizer = torch.optim.AdamW(self.critic_parameters, config.critic_rate, **settings)

    def means_and_values(self, obs: Any) -> tuple[Tensor, Tensor]:
        """Mean corrections (N, F) and values (N,)."""
        return self.actor(obs[SEEN]), self.values(obs)

    def values(self, obs: Any) -> Tensor:
        """Values (N,), in units of reward."""
        return self.critic(obs[SEEN]).squeeze(1)

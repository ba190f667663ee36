"""Actor, critic and exploration noise around one of our policies, in the form that stable-baselines3 expects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from embodkd.policies import MLP, Policy, RunningNormaliser
from embodkd.rl.config import PPOConfig
from embodkd.rl.gaussian import GaussianActorCritic
from embodkd.rl.shared import see_together


class ActorCritic(GaussianActorCritic):
    """`actor` is any Policy, so a distilled student can be improved further; the critic is an MLP on its own groups.

    The standard deviation of each action is learned.
    """

    actor: Policy
    critic: MLP

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        lr_schedule: Schedule,
        *,
        actor: Policy,
        groups: Mapping[str, Any],
        critic_groups: Sequence[str],
        config: PPOConfig,
        use_sde: bool = False,
    ) -> None:
        if use_sde:
            raise ValueError("ppo.use_sde: state-dependent noise is not supported here; leave it off")
        self._parts = (actor, groups, tuple(critic_groups), config)
        super().__init__(observation_space, action_space, lr_schedule, net_arch=[])

    def _build(self, lr_schedule: Schedule) -> None:
        actor, groups, critic_groups, config = self._parts
        self.actor = actor
        critic = MLP.build(groups, 1, vectors=critic_groups, head_scale=1.0)
        assert isinstance(critic, MLP)
        self.critic = critic
        self.return_statistics = RunningNormaliser(1)
        self.log_std = nn.Parameter(torch.full((actor.action_size,), math.log(config.init_std)))
        if config.orthogonal:
            _orthogonal(self.actor, 0.01)
            _orthogonal(self.critic, 1.0)
        self.actor_parameters = [*self.actor.parameters(), self.log_std]
        self.critic_parameters = list(self.critic.parameters())
        critic_rate = config.learning_rate if config.critic_rate is None else config.critic_rate
        # The fused kernel takes one call per group instead of a dozen per tensor.
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.actor_parameters, "lr": config.learning_rate},
                {"params": self.critic_parameters, "lr": critic_rate},
            ],
            eps=config.adam_eps,
            fused=True,
        )

    def means_and_values(self, obs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean actions (N, A) and values (N,), in units of reward."""
        return self.actor(obs), self.values(obs)

    def values(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Values (N,), in units of reward."""
        return self.standard_values(obs) / self.return_statistics.scale + self.return_statistics.shift

    def standard_values(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Values (N,) less the mean of all returns so far, in their standard deviations: what the critic puts out."""
        return self.critic(obs).squeeze(1)

    def standard_returns(self, return_N: Tensor) -> Tensor:
        """Returns in the same units; the critic's targets."""
        return (return_N - self.return_statistics.shift) * self.return_statistics.scale

    @torch.no_grad()
    def update_return_statistics(self, return_N: Tensor) -> None:
        """Merge returns and change the critic's last layer so that its values stay what they were (PopArt)."""
        statistics, head = self.return_statistics, self.critic.layers[-1]
        assert isinstance(head, nn.Linear)
        shift, scale = statistics.shift.clone(), statistics.scale.clone()
        see_together([statistics], lambda: statistics.update(return_N.unsqueeze(1)))
        head.weight.mul_(statistics.scale / scale)
        head.bias.copy_((head.bias / scale + shift - statistics.shift) * statistics.scale)

    def update_statistics(self, obs: Mapping[str, Tensor]) -> None:
        """Merge raw observations, those of all processes, into both normalisers (a frozen one ignores it)."""

        def show() -> None:
            self.actor.update_statistics(obs)
            self.critic.update_statistics(obs)

        networks = (self.actor, self.critic)
        see_together([one for net in networks for one in net.modules() if isinstance(one, RunningNormaliser)], show)


def _orthogonal(policy: Policy, head_gain: float) -> None:
    layers = [m for m in policy.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, head_gain if layer is layers[-1] else math.sqrt(2.0))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)

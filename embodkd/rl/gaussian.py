"""Gaussian actions around a mean, in the form that stable-baselines3 expects of an actor and a critic."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class GaussianActorCritic(ActorCriticPolicy):
    """A subclass's `_build` makes the networks and `log_std`, one logarithm of the noise per action.

    Observations are dictionaries of raw tensors: networks normalise what they read. Actions are clipped by the task,
    not here.
    """

    log_std: nn.Parameter

    def means_and_values(self, obs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean actions (N, A) and values (N,), in units of reward."""
        raise NotImplementedError

    def log_prob(self, mean_NA: Tensor, action_NA: Tensor) -> Tensor:
        """Log-density of actions under the current noise, (N,)."""
        z_NA = (action_NA - mean_NA) * torch.exp(-self.log_std)
        return -(0.5 * z_NA.square() + self.log_std + _HALF_LOG_2PI).sum(-1)

    def entropy(self) -> Tensor:
        """Entropy of the action distribution; the same for every observation."""
        return (self.log_std + 0.5 + _HALF_LOG_2PI).sum()

    # What follows is stable-baselines3's interface.

    def forward(  # type: ignore[override]
        self, obs: Mapping[str, Tensor], deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values (N, 1) and log-probabilities."""
        mean_NA, value_N = self.means_and_values(obs)
        distribution = self.action_dist.proba_distribution(mean_NA, self.log_std)
        action_NA = distribution.get_actions(deterministic=deterministic)
        return action_NA, value_N.unsqueeze(1), self.log_prob(mean_NA, action_NA)

    def evaluate_actions(  # type: ignore[override]
        self, obs: Mapping[str, Tensor], actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values (N, 1), log-probabilities and entropies of given actions."""
        mean_NA, value_N = self.means_and_values(obs)
        return value_N.unsqueeze(1), self.log_prob(mean_NA, actions), self.entropy().expand(len(value_N))

    def get_distribution(self, obs: Mapping[str, Tensor]) -> Distribution:  # type: ignore[override]
        """The Gaussian over actions."""
        assert isinstance(self.action_dist, DiagGaussianDistribution)
        return self.action_dist.proba_distribution(self.means_and_values(obs)[0], self.log_std)

    def predict_values(self, obs: Mapping[str, Tensor]) -> Tensor:  # type: ignore[override]
        """Values (N, 1)."""
        return self.means_and_values(obs)[1].unsqueeze(1)

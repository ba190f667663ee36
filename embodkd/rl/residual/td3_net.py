"""The networks of a residual's TD3: the policy's own head as the actor, and two critics."""

from __future__ import annotations

import copy
from typing import Any

from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import nn

from embodkd.policies import ResidualPolicy


class ResidualTD3Policy(TD3Policy):
    """The actor is the head of a residual policy; the critics are ours."""

    def __init__(self, *arguments: Any, residual: ResidualPolicy, cautious: bool, **options: Any) -> None:
        self._residual, self._cautious = [residual], cautious
        super().__init__(*arguments, **options)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """The first is the head itself, the next one a copy: TD3's target."""
        actor = super().make_actor(features_extractor)
        head = self._residual[0].head
        layers = head if not hasattr(self, "actor") else copy.deepcopy(head)
        actor.mu = nn.Sequential(layers, nn.Tanh())
        return actor

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> NormedCritic:
        """See NormedCritic."""
        options = self._update_features_extractor(self.critic_kwargs, features_extractor)
        return NormedCritic(**options, cautious=self._cautious)


class NormedCritic(ContinuousCritic):
    """stable-baselines3's, with layer normalisation after each hidden layer's product.

    cautious: what it believes of a correction shall come from what was tried, not from its first weights, or the actor
    follows these at once, far from all that the base does; so it begins without an opinion of corrections.
    """

    def __init__(self, *arguments: Any, cautious: bool, **options: Any) -> None:
        super().__init__(*arguments, **options)
        seen = options["features_dim"]
        size = seen + get_action_dim(self.action_space)
        self.q_networks = [
            nn.Sequential(*create_mlp(size, 1, options["net_arch"], post_linear_modules=[nn.LayerNorm]))
            for _ in self.q_networks
        ]
        for index, network in enumerate(self.q_networks):
            setattr(self, f"qf{index}", network)
            if cautious:
                first = next(network.children())
                assert isinstance(first, nn.Linear)
                nn.init.zeros_(first.weight[:, seen:])

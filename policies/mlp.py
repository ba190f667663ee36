"""A small network on vectors: the privileged teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from embodkd.policies.base import POLICIES, Policy, dense
from torch import Tensor, nn

from embodkd.core.config.ranges import NotNegative, Width


@POLICIES.register("mlp", modality="state")
class MLP(Policy):
    """ELU layers on the joined, normalised vector groups `vectors`; the last layer starts `head_scale` times as large.

    A small last layer starts reinforcement learning from actions near zero, whatever the first observations are.
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        vectors: tuple[str, ...] = ("proprio", "privileged"),
        hidden: tuple[Width, ...] = (128, 128),
        head_scale: NotNegative = 0.01,
    ) -> None:
        super().__init__(action_size)
        self._read(groups, vectors)
        self.layers = dense([self.normaliser.size, *hidden, action_size], nn.ELU)
        head = self.layers[-1]
        assert isinstance(head, nn.Linear)
        with torch.no_grad():
            head.weight.mul_(head_scale)
            head.bias.mul_(head_scale)

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Mean action (N, A)."""
        return self.layers(self.vector(obs))

"""What one iteration of PPO collects: raw observations and the rest, as float32 tensors that are filled in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor

from embodkd.rl.advantages import advantages
from embodkd.rl.shared import Copies


class Minibatch(NamedTuple):
    """Rows (n, ...) for one gradient step; `whole`: how many they are in all processes."""

    obs: dict[str, Tensor]
    action_NA: Tensor
    log_prob_N: Tensor
    advantage_N: Tensor
    return_N: Tensor
    whole: int


class RolloutTensors(RolloutBuffer):
    """T steps of N copies; allocated once. Stands where stable-baselines3 has arrays and `add`.

    An episode that was cut off by the time limit goes on in the value of its last observation, which is added to the
    reward of its last step; after any end the recursion of the advantages stops.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        device: torch.device | str = "cpu",
        gae_lambda: float = 0.95,
        gamma: float = 0.97,
        n_envs: int = 1,
    ) -> None:
        # Past RolloutBuffer's own constructor, which would allocate its arrays.
        super(RolloutBuffer, self).__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.gae_lambda, self.gamma = gae_lambda, gamma
        rows = (buffer_size, n_envs)
        self.obs = {
            name: torch.zeros(
                (*rows, *(space.shape or ())), dtype=torch.uint8 if space.dtype == "uint8" else torch.float32
            )
            for name, space in observation_space.spaces.items()
        }
        self.action_TNA = torch.zeros(*rows, *action_space.shape, device=device)
        self.mean_TNA = torch.zeros_like(self.action_TNA)
        self.log_std_A = torch.zeros(action_space.shape, device=device)
        self.reward_TN = torch.zeros(*rows, device=device)
        self.done_TN = torch.zeros_like(self.reward_TN)
        self.value_TN = torch.zeros_like(self.reward_TN)
        self.log_prob_TN = torch.zeros_like(self.reward_TN)
        self.advantage_TN = torch.zeros_like(self.reward_TN)
        self.return_TN = torch.zeros_like(self.reward_TN)

    @property
    def flat_obs(self) -> dict[str, Tensor]:
        """Observations as (T * N, ...) views."""
        return {name: value.flatten(0, 1) for name, value in self.obs.items()}

    def compute_advantages(self, last_value_N: Tensor) -> None:
        """Fill in advantages and returns from rewards, values and ends."""
        self.advantage_TN.copy_(
            advantages(self.reward_TN, self.value_TN, self.done_TN, last_value_N, self.gamma, self.gae_lambda)
        )
        torch.add(self.advantage_TN, self.value_TN, out=self.return_TN)

    def minibatches(
        self,
        size: int,
        advantage_TN: Tensor,
        return_TN: Tensor,
        rows: Tensor | None = None,
        copies: Copies | None = None,
    ) -> Iterator[Minibatch]:
        """All rows once (or those of the flat indices `rows`), shuffled: one gather per epoch, then views of it.

        copies: these are a part of them, and each minibatch is this process's part of one of all rows.
        """
        columns: Mapping[str, Tensor] = self.flat_obs
        if copies is not None and copies.shared:
            order = torch.randperm(len(self.reward_TN) * copies.total)
            count = len(order)
            order, ends = copies.rows(order, size)
        else:
            order = torch.randperm(self.reward_TN.numel() if rows is None else len(rows))
            if rows is not None:
                order = rows[order]
            count = len(order)
            ends = [*range(size, count, size), count]
        obs = {name: value.index_select(0, order) for name, value in columns.items()}
        action_NA = self.action_TNA.flatten(0, 1).index_select(0, order)
        scalars_KN = torch.stack([self.log_prob_TN, advantage_TN, return_TN]).flatten(1).index_select(1, order)
        for place, (start, end) in enumerate(pairwise([0, *ends])):
            span, whole = slice(start, end), min(size, count - place * size)
            log_prob_N, of_advantage_N, of_return_N = scalars_KN[:, span]
            yield Minibatch(
                {n: v[span] for n, v in obs.items()}, action_NA[span], log_prob_N, of_advantage_N, of_return_N, whole
            )

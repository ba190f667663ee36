"""The arithmetic of PPO on plain tensors: advantages, the clipped loss, the divergence that stops an iteration."""

from __future__ import annotations

import torch
from torch import Tensor


def advantages(
    reward_TN: Tensor, value_TN: Tensor, done_TN: Tensor, last_value_N: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Generalised advantage estimation (Schulman et al. 2016), (T, N); add the values to get the returns.

    done_TN[t]: 1 if the episode is over after step t, so that nothing later counts. last_value_N: of the state after
    the last step.
    """
    advantage_TN = torch.empty_like(reward_TN)
    carry_N = torch.zeros_like(last_value_N)
    next_value_N = last_value_N
    for t in reversed(range(len(reward_TN))):
        alive_N = 1.0 - done_TN[t]
        delta_N = reward_TN[t] + gamma * next_value_N * alive_N - value_TN[t]
        carry_N = delta_N + gamma * gae_lambda * alive_N * carry_N
        advantage_TN[t] = carry_N
        next_value_N = value_TN[t]
    return advantage_TN


def until_done(done_TN: Tensor) -> Tensor:
    """Whether each step belongs to its episode, bool (T, N): all up to the one that ends it, none after."""
    before_TN = torch.cat([torch.zeros_like(done_TN[:1]), done_TN[:-1]])
    return before_TN.cumsum(0) == 0


def standardise(values: Tensor) -> Tensor:
    """(values - mean) / (standard deviation + 1e-8), the deviation with n - 1; a single value, which has none, is 0."""
    centred = values - values.mean()
    return centred if values.numel() == 1 else centred / (values.std() + 1e-8)


def clipped_loss(advantage_N: Tensor, ratio_N: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """PPO's loss per row (N,), and whether its ratio of probabilities lies outside 1 +- clip, bool (N,)."""
    bounded_N = ratio_N.clamp(1.0 - clip, 1.0 + clip)
    return -torch.minimum(advantage_N * ratio_N, advantage_N * bounded_N), bounded_N != ratio_N


def divergence_estimate(log_ratio_N: Tensor) -> Tensor:
    """KL(old || new) from samples of the old policy, one number: the mean of ratio - 1 - log(ratio), never negative."""
    return (log_ratio_N.exp() - 1.0 - log_ratio_N).mean()

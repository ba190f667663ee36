"""A learner that has blown up is stopped where it did, by the name of what blew up; its last checkpoint is intact."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from embodkd.core.runs.finite import first_not_finite
from embodkd.rl.rollout_buffer import RolloutTensors


def check_loss(learner: Any, loss: Tensor, advice: str) -> None:
    """FloatingPointError where a loss is not finite, before it moves anything; it names the tensor to blame, if any."""
    if not torch.isfinite(loss):
        check_network(learner, advice)
        raise FloatingPointError(_said(learner, "a loss is not finite, though all weights are", advice))


def check_network(learner: Any, advice: str) -> None:
    """FloatingPointError that names the first tensor of `learner.policy` that is not finite.

    advice: which settings to change.
    """
    name = first_not_finite(learner.policy.state_dict())
    if name is not None:
        raise FloatingPointError(_said(learner, f"{name} is not finite after an update", advice))


def check_returns(learner: Any, buffer: RolloutTensors, advice: str) -> None:
    """The same for what is to be learned from: rewards, or values that the critic gives.

    The value of an episode cut off by time is part of its last reward: so values are looked at first.
    """
    if torch.isfinite(buffer.return_TN).all():
        return
    culprit = "the task's rewards are" if torch.isfinite(buffer.value_TN).all() else "the critic's values are"
    raise FloatingPointError(_said(learner, f"{culprit} not finite", advice))


def _said(learner: Any, what: str, advice: str) -> str:
    return f"step {learner.num_timesteps}: {what}; the last checkpoint is intact; look at the rewards, {advice}"

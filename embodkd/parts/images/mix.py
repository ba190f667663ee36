"""Mixtures of items made once per batch, so that all roles see the same ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.recipe import Prepare
from embodkd.core.signals import Signals


def mixup(concentration: float, classes: int) -> Prepare:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): input <- m * input + (1 - m) * input of another item.

    m ~ Beta(concentration, concentration), one per batch. The new field `score` (N, C) has the labels mixed alike.
    """
    if concentration <= 0:
        raise ValueError(f"mixup: the concentration must be positive, got {concentration}")
    beta = torch.distributions.Beta(concentration, concentration)

    def prepare(batch: Signals) -> Mapping[str, Tensor]:
        share, other = beta.sample().to(batch.input), torch.randperm(batch.items_count, device=batch.input.device)
        score_NC = F.one_hot(batch.label_N, classes).to(batch.input)
        return {
            "input": share * batch.input + (1.0 - share) * batch.input[other],
            "score": share * score_NC + (1.0 - share) * score_NC[other],
        }

    return prepare

"""Mixtures of items made once per batch, so that all roles see the same ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.batch.pieces import with_partners
from embodkd.core.batch.whole import own, whole
from embodkd.core.recipe import Prepare
from embodkd.core.signals import Signals
from embodkd.core.transfer import sent


# torchvision 0.28 pairs each item with its neighbour and makes labels float32, kornia 0.9 draws uniform shares and
# leaves labels unmixed; either knows its own process's items only. The arithmetic is two lines of `prepare`.
def mixup(concentration: float, classes: int) -> Prepare:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): input <- m * input + (1 - m) * input of another item.

    m ~ Beta(concentration, concentration), one per batch; the other items are those of the whole batch, whichever
    process holds them. The new field `score` (N, C) has the labels mixed alike. All is drawn on the CPU from torch's
    global generator.
    """
    if concentration <= 0:
        raise ValueError(f"mixup: the concentration must be positive, got {concentration}")
    beta = torch.distributions.Beta(concentration, concentration)

    def prepare(batch: Signals) -> Mapping[str, Tensor]:
        score_NC = F.one_hot(batch.label_N, classes).to(batch.input)
        everyone, scores = whole(batch.input, "mixup"), whole(score_NC, "mixup")
        share = sent(beta.sample(), batch.input)
        other = sent(own(torch.randperm(len(everyone))), batch.input.device)
        return {
            "input": share * batch.input + (1.0 - share) * everyone[other],
            "score": share * score_NC + (1.0 - share) * scores[other],
        }

    return with_partners(prepare)

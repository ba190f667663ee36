"""Two views of the same items: each item's views belong together, all others of the batch do not."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.batch.whole import over_the_batch
from embodkd.core.terms.base import TERMS, same_shape, unit


@TERMS.register("nt_xent", inputs="vectors", minimum="none", relational=True)
@over_the_batch
def nt_xent(value_ND: Tensor, target_ND: Tensor, *, temperature: float = 0.3, detach_target: bool = True) -> Tensor:
    """Mean over both directions of -log softmax, over all 2N - 1 other embeddings, of cosine / temperature at the pair.

    Shapes: (N, D), (N, D) -> (N,). Unlike info_nce, embeddings of the same view are negatives too. A lone item gives 0.
    Source: Chen et al., ICML 2020 (SimCLR, arXiv:2002.05709), eq. 1.
    """
    same_shape(value_ND, target_ND, "nt_xent")
    if temperature <= 0:
        raise ValueError(f"nt_xent: temperature must be positive, got {temperature}")
    target_ND = target_ND.detach() if detach_target else target_ND
    both_MD = unit(torch.cat([value_ND, target_ND]))
    n = len(value_ND)
    logits_MM = both_MD @ both_MD.T / temperature
    self_MM = torch.eye(2 * n, dtype=torch.bool, device=logits_MM.device)
    logits_MM = logits_MM.masked_fill(self_MM, torch.finfo(logits_MM.dtype).min)
    pair_M = torch.arange(2 * n, device=logits_MM.device).roll(n)
    return F.cross_entropy(logits_MM, pair_M, reduction="none").view(2, n).mean(0)

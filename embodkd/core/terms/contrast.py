"""Which target belongs to which item: found among all of the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from embodkd.core.batch.whole import over_the_batch
from embodkd.core.terms.base import TERMS, same_shape, unit
from embodkd.core.transfer import on_host


@TERMS.register("info_nce", inputs="vectors", minimum="none", relational=True)
@over_the_batch
def info_nce(
    value_ND: Tensor, target_ND: Tensor, *, temperature: float | Tensor = 0.1, detach_target: bool = True
) -> Tensor:
    """-log softmax over all targets of cosine(value, target) / temperature, at the own target.

    Shapes: (N, ..., D), (N, ..., D) -> (N,): every position of every item is matched among all positions of all items,
    then averaged within the item. temperature: a number, or one per item (N,), such as a scheduled one. With many
    positions and a high temperature it tends to the logarithm of their number. Source: van den Oord et al. 2018.
    """
    same_shape(value_ND, target_ND, "info_nce")
    target_ND = target_ND.detach() if detach_target else target_ND
    value_MD, target_MD = (unit(z.flatten(0, -2)) for z in (value_ND, target_ND))
    places = len(value_MD) // len(value_ND)
    coldest = float(on_host(temperature).min()) if isinstance(temperature, Tensor) else temperature
    if coldest <= 0:
        raise ValueError(f"info_nce: temperature must be positive, got {coldest}")
    heat = temperature.to(value_MD) if isinstance(temperature, Tensor) else value_MD.new_full((1,), temperature)
    heat_N = heat.expand(len(value_ND))
    logits_MM = value_MD @ target_MD.T / heat_N.repeat_interleave(places)[:, None]
    own_M = torch.arange(len(value_MD), device=value_MD.device)
    return F.cross_entropy(logits_MM, own_M, reduction="none").reshape(len(value_ND), places).mean(1)

"""Influence: by how much would another loss fall if one training item counted more? (Koh and Liang 2017, section 2)

    h_n = gradient of the validation loss . (H + damping I)^-1 . gradient of item n's loss,

with H the Hessian of the mean training loss, all at the same parameters. h > 0 is a helpful item: d(validation
loss)/d(weight of item n) = -h_n, and leaving it out of N items raises the validation loss by h_n / N to first order.

Parameters are one flat vector (P,), losses are functions of it that give one value per item. A data set is a sequence
of such losses, one per batch; the Hessian is known by its products only, see meta/solvers.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import grad, jvp

from embodkd.core.meta.solvers import Product
from embodkd.core.modules.attention import twice_differentiable
from embodkd.core.modules.places import submodule
from embodkd.core.modules.taps import Tap
from embodkd.core.recipe import Answers
from embodkd.core.role import Role
from embodkd.core.signals import Signals
from embodkd.core.sources.source import Source

Losses = Callable[[Tensor], Tensor]
"""Parameters (P,) -> the loss of each item of a batch, (N,)."""
Solve = Callable[[Product, Tensor], Tensor]
"""`solve(product, vector)`: (H + damping I)^-1 vector."""


def as_losses(
    role: Role,
    source: Source,
    loss: Callable[..., Tensor],
    given: Mapping[str, Answers] | None = None,
    *,
    layer: str | None = None,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, list[Losses]]:
    """The parameters of `role` as one vector (P,), and its item losses on each batch of `source` as functions of them.

    `loss(batch, s, **given)` gives one value per item, like a player's terms; the given signals carry no gradient. All
    is in evaluation mode and double precision, in a copy of the model.
    layer: only the parameters of this submodule count. It must be the one that makes the role's output; what enters
    it is computed once.
    """
    model = copy.deepcopy(role.model).to(device).double()
    entering = {} if layer is None else {"entering": Tap(layer, input=True)}
    whole = Role(model, mode="eval", view=role.view, output=role.output, taps=entering, temperature=role.temperature)
    judged = whole
    if layer is not None:
        part = submodule(model, layer)
        judged = Role(part, mode="eval", view="entering", output=role.output, temperature=role.temperature)
    named = {name: p.detach() for name, p in judged.model.named_parameters() if p.requires_grad}
    sizes = [p.numel() for p in named.values()]

    def losses(batch: Signals, seen: Mapping[str, Signals]) -> Losses:
        @twice_differentiable()
        def at(theta_P: Tensor) -> Tensor:
            parts = zip(named.items(), theta_P.split(sizes), strict=True)
            return loss(batch, judged.signals(batch, {name: part.view_as(p) for (name, p), part in parts}), **seen)

        return at

    pieces = []
    for start in range(0, source.size(), batch_size):
        batch = source.gather(np.arange(start, min(start + batch_size, source.size())), 0).to(device)
        with torch.no_grad():
            seen = {name: answerer.signals(batch).map(_double) for name, answerer in (given or {}).items()}
            batch = batch.map(_double)
            if layer is not None:
                batch = batch.merge(entering=whole.signals(batch)["entering"])
        pieces.append(losses(batch, seen))
    return torch.cat([p.flatten() for p in named.values()]), pieces


def mean_gradient(pieces: Sequence[Losses], at_P: Tensor) -> Tensor:
    """The gradient of the mean over all items, (P,)."""
    total_P, items = torch.zeros_like(at_P), 0
    for losses in pieces:
        slope_P, count = _sum_gradient(losses, at_P)
        total_P, items = total_P + slope_P, items + count
    return total_P / items


def hessian_product(pieces: Sequence[Losses], at_P: Tensor) -> Product:
    """v -> H v, with H the Hessian of the mean over all items: a forward derivative of the gradient."""

    def product(vector_P: Tensor) -> Tensor:
        return jvp(lambda theta_P: mean_gradient(pieces, theta_P), (at_P,), (vector_P.detach(),))[1].detach()

    return product


def sampled_product(pieces: Sequence[Losses], at_P: Tensor, generator: torch.Generator) -> Product:
    """v -> H v of one batch, drawn anew (uniformly) at each call: what `lissa` may use on large data."""

    def product(vector_P: Tensor) -> Tensor:
        drawn = int(torch.randint(len(pieces), (), generator=generator))
        return hessian_product([pieces[drawn]], at_P)(vector_P)

    return product


def along(pieces: Sequence[Losses], at_P: Tensor, direction_P: Tensor) -> Tensor:
    """direction . gradient of each item's loss, (N,): one forward derivative per batch, no gradient per item."""
    return torch.cat([jvp(losses, (at_P,), (direction_P,))[1].detach() for losses in pieces])


def influence(train: Sequence[Losses], validation: Sequence[Losses], at_P: Tensor, solve: Solve) -> Tensor:
    """h of every training item, (N,), in the order of `train`; positive is helpful."""
    direction_P = solve(hessian_product(train, at_P), mean_gradient(validation, at_P))
    return along(train, at_P, direction_P)


Transform = Literal["sigmoid", "exponential", "drop", "uniform"]


def sample_weights(scores_N: Tensor, transform: Transform = "sigmoid", sharpness: float = 2.0) -> Tensor:
    """Weights >= 0 with mean 1 that rise with the scores, (N,); a positive factor of all scores changes nothing.

    sigmoid: sigmoid(sharpness * (score - median) / standard deviation); exponential: exp of the scores scaled to
    [-1, 1]; drop: 0 for scores below 0, the same for all others; uniform: 1. Equal scores give equal weights.
    """
    if transform == "sigmoid":
        spread = scores_N.std(correction=0)
        raw_N = torch.sigmoid(sharpness * (scores_N - scores_N.quantile(0.5)) / torch.where(spread > 0, spread, 1.0))
    elif transform == "exponential":
        low, width = scores_N.min(), scores_N.max() - scores_N.min()
        raw_N = (2.0 * (scores_N - low) / torch.where(width > 0, width, 1.0) - 1.0).exp()
    elif transform == "drop":
        raw_N = (scores_N >= 0).to(scores_N.dtype)
    elif transform == "uniform":
        raw_N = torch.ones_like(scores_N)
    else:
        raise ValueError(f"influence: transform {transform!r} is not one of sigmoid, exponential, drop, uniform")
    if not raw_N.any():
        raise ValueError("influence: no item has a score of 0 or more, nothing would be left to learn from")
    return raw_N / raw_N.mean()


def _sum_gradient(losses: Losses, at_P: Tensor) -> tuple[Tensor, int]:
    def total(theta_P: Tensor) -> tuple[Tensor, Tensor]:
        values_N = losses(theta_P)
        return values_N.sum(), values_N

    slope_P, values_N = grad(total, has_aux=True)(at_P)
    return slope_P, len(values_N)


def _double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value

"""Controllers that keep two objectives in balance: losses by their relative progress, teachers by their entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.weights.schedule import Schedule, schedule
from embodkd.core.weights.weight import Controller, Factors


class Together(Controller):
    """Several controllers of the same terms; each weighs its own."""

    def __init__(self, *controllers: Controller) -> None:
        super().__init__()
        self.controllers = nn.ModuleList(controllers)

    def forward(self, means: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """The weights of all of them."""
        return {name: weight for each in self.controllers for name, weight in each(means).items()}

    def known(self) -> Factors | None:
        """Those of all of them, if each one's are."""
        found = [each.known() for each in self.controllers if isinstance(each, Controller)]
        if any(weights is None for weights in found):
            return None
        return {name: weight for weights in found if weights is not None for name, weight in weights.items()}


class LossRatio(Controller):
    """Weights under which losses shrink at the same relative rate: the one that has shrunk less gets more.

    With L0 the losses of the very first update, l_k = (L_k / L0_k)^exponent and r_k = l_k / sum of l:
        w_k <- w_k - rate * (w_k - r_k), then clipped at 0 and made to sum to 1.
    So w is a running average of r, and a constant factor on all losses changes nothing.
    names: the terms; start: their first weights (None: equal ones); rate: a number or a schedule over updates that
    needs no total ("constant" or "step"). Source: Zhao et al. 2023 (B-MTARD, arXiv:2306.16170), as released.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        rate: float | Mapping[str, Any] | Schedule = 0.025,
        start: Sequence[float] | None = None,
        exponent: float = 1.0,
    ) -> None:
        super().__init__()
        first = torch.tensor(start if start is not None else [1.0] * len(names))
        if len(first) != len(names) or (first < 0).any() or first.sum() <= 0:
            raise ValueError(f"loss ratio: start needs one weight >= 0 per term {list(names)}, not all 0; got {start}")
        self.names, self.exponent = tuple(names), exponent
        self.rate = schedule(rate, "loss_ratio.rate")
        self.weight: Tensor
        self.first: Tensor
        self.updates: Tensor
        self.register_buffer("weight", first / first.sum())
        self.register_buffer("first", torch.zeros(len(names)))
        self.register_buffer("updates", torch.tensor(0))

    @torch.no_grad()
    def forward(self, means: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """Move the weights towards these losses' ratios and return them."""
        loss_K = torch.stack([means[name].to(self.weight) for name in self.names])
        tiny = torch.finfo(loss_K.dtype).tiny
        self.first.copy_(torch.where(self.updates == 0, loss_K, self.first))
        relative_K = (loss_K / self.first.clamp(min=tiny)).pow(self.exponent)
        ratio_K = relative_K / relative_K.sum().clamp(min=tiny)
        moved_K = self.weight - _now(self.rate, self.updates) * (self.weight - ratio_K)
        moved_K = moved_K.clamp(min=0.0)
        self.weight.copy_(moved_K / moved_K.sum().clamp(min=tiny))
        self.updates += 1
        return {name: self.weight[k].clone() for k, name in enumerate(self.names)}


class EntropyBalance(Controller):
    """Two temperatures that bring two teachers to the same mean entropy; `temperature` (2,) holds them.

    After each update the temperature of the teacher with the higher entropy falls by `rate`, the other's rises by it,
    both within `bounds`. names: the terms that tell the two entropies at the present temperatures; they weigh 0.
    by_ratio: decide by H_k / H_other - 1 as the released code does, which differs where an entropy is not positive.
    rate: as in LossRatio. Source: Zhao et al. 2023 (B-MTARD, arXiv:2306.16170), as released.
    """

    def __init__(
        self,
        names: tuple[str, str],
        *,
        rate: float | Mapping[str, Any] | Schedule = 0.001,
        start: float = 1.0,
        bounds: tuple[float, float] = (1.0, 10.0),
        by_ratio: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < bounds[0] <= start <= bounds[1]:
            raise ValueError(f"entropy balance: needs 0 < lower bound <= start <= upper; got {bounds}, start {start}")
        self.names, self.bounds, self.by_ratio = names, bounds, by_ratio
        self.rate = schedule(rate, "entropy_balance.rate")
        self.temperature: Tensor
        self.updates: Tensor
        self.register_buffer("temperature", torch.full((2,), float(start)))
        self.register_buffer("updates", torch.tensor(0))

    @torch.no_grad()
    def forward(self, means: Mapping[str, Tensor]) -> dict[str, float | Tensor]:
        """Move the temperatures for the next update; the entropies themselves weigh nothing."""
        entropy_2 = torch.stack([means[name].to(self.temperature) for name in self.names])
        other_2 = entropy_2.flip(0)
        excess_2 = entropy_2 / other_2 - 1.0 if self.by_ratio else entropy_2 - other_2
        moved_2 = self.temperature - _now(self.rate, self.updates) * excess_2.sign()
        self.temperature.copy_(moved_2.clamp(*self.bounds))
        self.updates += 1
        return self.known()

    def known(self) -> dict[str, float | Tensor]:
        """They weigh nothing."""
        return {name: 0.0 for name in self.names}


def _now(rate: Schedule, updates: Tensor) -> float:
    """The rate after so many updates, which are read only where it depends on them: a card would be waited for."""
    return rate.at(0 if rate.shape == "constant" and not rate.warmup else int(updates))

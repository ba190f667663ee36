"""Weights: what multiplies a term, one value per item, before the mean over items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from embodkd.core.signals import Signals
from embodkd.core.weights.schedule import Schedule, schedule

PerItem = Callable[..., Tensor]
Weight = Schedule | PerItem
Factors = Mapping[str, float | Tensor]
"""What a controller says: {term: weight}."""


class Controller(nn.Module):
    """Weights that follow what the terms come to: `forward({term: mean of this update})` -> {term: weight}.

    Given as `Player.weights`. It is called once per update, with detached means over the whole batch (all its pieces,
    in all processes), and keeps what it remembers in buffers, so that a resumed run goes on with it. Terms that it does
    not name weigh 1.
    """

    def forward(self, means: Mapping[str, Tensor]) -> Factors:
        """The weights of this update."""
        raise NotImplementedError

    def known(self) -> Factors | None:
        """The weights of this update where they do not depend on its means, else None.

        A batch in pieces is gone through once more, to measure the means first, for a controller that returns None.
        """
        return None

    @contextmanager
    def trial(self) -> Iterator[None]:
        """What it is called with inside is forgotten afterwards."""
        former = {name: value.clone() for name, value in self.named_buffers()}
        yield
        for name, value in self.named_buffers():
            value.copy_(former[name])


def as_weight(value: float | Mapping[str, Any] | Weight, where: str = "weight") -> Weight:
    """A weight from its short forms: a number, a schedule (or its config), or a function that gives one per item."""
    return value if callable(value) else schedule(value, where)


def per_item(name: str) -> PerItem:
    """The weights are the field `name` of the batch, (N,)."""

    def weight(batch: Signals, *signals: Signals, **given: Signals) -> Tensor:
        return batch[name]

    return weight


def weigh(
    name: str, values_N: Tensor, weight: Weight, step: int, total: int, batch: Signals, s: Signals, given: Mapping
) -> Tensor:
    """`values_N` times its weight at this step; ValueError if a per-item weight has another length.

    A per-item weight is called like the terms, `weight(batch, s, **given)`, and carries gradient only if it wants to.
    """
    if isinstance(weight, Schedule):
        return values_N * weight.at(step, total)
    weight_N = weight(batch, s, **given)
    if weight_N.shape != values_N.shape:
        found, wanted = tuple(weight_N.shape), tuple(values_N.shape)
        raise ValueError(f"weights.{name}: gives shape {found}, the term has {wanted}; one weight per item is needed")
    return values_N * weight_N

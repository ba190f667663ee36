"""How fast each kind of parameter of a splat scene learns, and how that falls off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from embodkd.core import Optimiser, ParameterGroup
from embodkd.parts.players.round_robin import Visit

# Pattern of the names -> rate at first and at the end, as multiples of the features' rate (there 0.0075).
_RATES = {
    "blocks.*.offset": (0.01 / 0.0075, 0.0001 / 0.0075),
    "blocks.*.size": (0.007 / 0.0075, 0.007 / 0.0075),
    "decoders.*.opacity.*": (0.002 / 0.0075, 0.00002 / 0.0075),
    "decoders.*.covariance.*": (0.004 / 0.0075, 0.004 / 0.0075),
    "decoders.*.colour.*": (0.008 / 0.0075, 0.00005 / 0.0075),
}
_FALLEN = 0.5  # the share of the updates after which the last rate is reached and stays


def during(visit: Visit, optimiser: Optimiser) -> Optimiser:
    """`optimiser`, whose learning rate is the features', with these rates for the rest and where this visit is by then.

    Rates fall by the same factor in each update; within a visit that is taken for a line. A learning rate that follows
    a curve follows it over all of the block's updates.
    """
    base, steps = optimiser.rate(), max(1, visit.total - 1)
    whole = visit.stretch(lambda share: base.at(round(share * steps), visit.total))

    groups = [ParameterGroup(pattern, visit.stretch(_falling(*ends))) for pattern, ends in _RATES.items()]
    return replace(optimiser, learning_rate=whole, groups=(*optimiser.groups, *groups))


def _falling(first: float, last: float) -> Callable[[float], float]:
    return lambda share: first * (last / first) ** min(1.0, share / _FALLEN)

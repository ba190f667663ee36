"""Intervals for success rates: Wilson for one, Newcombe for the difference of two on the same seeds, exact McNemar;
and Student's t for the mean of a few numbers, one per training seed.

All counts are of episodes.  Nothing here knows a task or a policy.  Distributions are scipy.special's: scipy.stats has
these intervals too, and takes as long to import as the rest of a report; the tests hold them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev


def wilson(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a success rate, inside [0, 1] (Wilson, 1927).

    Raises ``ValueError`` without episodes, or with more successes than episodes.
    """
    if episodes < 1:
        raise ValueError(f"an interval needs at least one episode, got {episodes}")
    if not 0 <= successes <= episodes:
        raise ValueError(f"{successes} successes in {episodes} episodes is impossible")
    return score_interval(successes / episodes, episodes, confidence)


def score_interval(rate: float, size: float, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's where a rate is worth ``size`` independent episodes, which need not be whole; it holds the rate."""
    _check(confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = rate + z * z / (2 * size)
    half = z * math.sqrt(rate * (1 - rate) / size + (z / (2 * size)) ** 2)
    low, high = ((centre + side * half) / (1 + z * z / size) for side in (-1, 1))
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))


def paired_interval(
    both: int, only_a: int, only_b: int, neither: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """``(difference, low, high)`` of the rates of A and B on the same episodes (Newcombe, 1998, paired, method 10).

    It joins the two Wilson intervals with the correlation of the outcomes, so it keeps a sensible width where the
    usual formula gives zero (both at 100 %).
    """
    # Written out: scipy has no interval for this, and statsmodels only for independent samples.
    episodes = both + only_a + only_b + neither
    rate_a, rate_b = (both + only_a) / max(episodes, 1), (both + only_b) / max(episodes, 1)
    low_a, high_a = wilson(both + only_a, episodes, confidence)
    low_b, high_b = wilson(both + only_b, episodes, confidence)
    phi = _correlation(both, only_a, only_b, neither)
    difference = rate_a - rate_b
    below = _join(rate_a - low_a, high_b - rate_b, phi)
    above = _join(high_a - rate_a, rate_b - low_b, phi)
    return difference, max(-1.0, difference - below), min(1.0, difference + above)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value that A and B succeed equally often, from the episodes where they disagree."""
    from scipy.special import bdtr

    # of a coin: twice its smaller tail
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))) if only_a + only_b else 1.0


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """``(mean, low, high)``: Student's interval of the mean of independent numbers, infinitely wide for a single one.

    Given the differences of two arms seed by seed, it is the interval of the paired difference.  Raises ``ValueError``
    without any number.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    mean = fmean(values)
    if len(values) == 1:
        return mean, -math.inf, math.inf
    from scipy.special import stdtrit

    _check(confidence)
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _check(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie strictly between 0 and 1, got {confidence}")


def _correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    """Phi of the 2 x 2 table, with Newcombe's continuity correction; 0 where a margin is empty."""
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    excess: float = both * neither - only_a * only_b
    if excess > 0:
        excess = max(excess - (both + only_a + only_b + neither) / 2, 0.0)
    return excess / math.sqrt(margins)


def _join(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))

"""How far a mean over seeds and episodes may be off, where every seed was judged on the same episodes.

Seeds and episodes are then *crossed*: an outcome is a mean, an effect of the seed, one of the episode, and a rest that
belongs to both.  Counting the outcomes as independent, or drawing anew from seeds alone, forgets one of the two.

Source: the two-way layout with random effects and one outcome per cell, variance components from the mean squares by
the method of moments (Searle, Casella and McCulloch, *Variance Components*, 1992, ch. 4); degrees of freedom after
Satterthwaite (Biometrics Bulletin 2, 1946).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Below this share of what episodes alone would give, an estimate of the variance is bad luck.  Each component truncated
# at zero (a share of one) covers up to 99 % where seeds do not differ; 2/5 keeps that near 97 %.
LEAST_SHARE = 0.4


@dataclass(frozen=True)
class MeanSquares:
    """Mean squares of the two-way layout: of seeds, of episodes, and of the rest, which is their interaction."""

    seeds: float
    episodes: float
    rest: float


@dataclass(frozen=True)
class CrossedSpread:
    """The ``variance`` of a mean, the ``degrees`` of freedom with which it is known, and what of it is owed to
    ``seeds`` and to ``episodes`` (with the rest): components, neither below zero."""

    variance: float
    degrees: float
    seeds: float
    episodes: float


def mean_squares(outcome_SE: np.ndarray) -> MeanSquares:
    """The mean squares of outcomes of at least two seeds and two episodes."""
    seeds, episodes = outcome_SE.shape
    mean = outcome_SE.mean()
    of_seed_S1 = outcome_SE.mean(axis=1, keepdims=True) - mean
    of_episode_E = outcome_SE.mean(axis=0) - mean
    rest_SE = outcome_SE - mean - of_seed_S1 - of_episode_E
    return MeanSquares(
        float(episodes * (of_seed_S1**2).sum() / (seeds - 1)),
        float(seeds * (of_episode_E**2).sum() / (episodes - 1)),
        float((rest_SE**2).sum() / ((seeds - 1) * (episodes - 1))),
    )


def crossed_spread(*outcomes_SE: np.ndarray) -> CrossedSpread:
    """The spread of the sum of the groups' means, over new seeds of each group and new episodes of them all.

    One group gives ``(MS_seeds + MS_episodes - MS_rest) / (S E)``, without bias, but no less than a share of what its
    episodes alone would give.  Two groups, the second with its sign turned, give the spread of a difference on shared
    episodes: the seeds of each are a factor of their own, the episodes are one for both.  Every group has at least two
    seeds, all have the same episodes, at least two.
    """
    episodes = outcomes_SE[0].shape[1]
    squares = [mean_squares(outcome_SE) for outcome_SE in outcomes_SE]
    of_seeds = np.array([square.seeds / one.size for square, one in zip(squares, outcomes_SE, strict=True)])
    of_rest = np.array([square.rest / one.size for square, one in zip(squares, outcomes_SE, strict=True)])
    freedoms = np.array([len(outcome_SE) - 1 for outcome_SE in outcomes_SE])
    of_episodes = spread_over_episodes(*outcomes_SE).variance
    without_seeds = max(of_episodes, float(of_rest.sum()))
    variance = max(float((of_seeds - of_rest).sum()) + of_episodes, LEAST_SHARE * without_seeds)
    doubt = of_episodes**2 / (episodes - 1) + ((of_seeds**2 + of_rest**2 / (episodes - 1)) / freedoms).sum()
    # The formula falls below the seeds' own degrees where the subtraction leaves little: t would then count that twice.
    degrees = max(variance**2 / float(doubt), float(freedoms.min())) if doubt else math.inf
    return CrossedSpread(variance, degrees, float(np.maximum(of_seeds - of_rest, 0.0).sum()), without_seeds)


def spread_over_episodes(*outcomes_SE: np.ndarray) -> CrossedSpread:
    """The spread of the sum of the groups' means over new episodes of these very seeds: all that one or two tell."""
    of_episode_E = sum(outcome_SE.mean(axis=0) for outcome_SE in outcomes_SE)
    episodes = outcomes_SE[0].shape[1]
    variance = float(np.var(of_episode_E, ddof=1)) / episodes
    return CrossedSpread(variance, episodes - 1, 0.0, variance)

"""The success rate of a recipe: of runs that differ in their training seed alone, judged on the same episodes.

The interval is of the rate over new seeds *and* new episodes: variance components of the two crossed factors
(`crossed.py`), Student's t with Satterthwaite's degrees of freedom, on the logit scale by the delta method, so that it
stays inside [0, 1].

How often it held the truth in simulations, of crossed and of nested outcomes (seeds that differ by a standard deviation
of 0, 0.5, 1 on the logit, episodes by 0, 1, 2; 100 and 200 episodes; `tests/evaluation/crossed_runs.py`), per cent:

    rate          30 to 85     95           97           99
    3 seeds       92 to 98     92 to 98     94 to 99     97 to 99
    5 seeds       93 to 97     92 to 97     92 to 97     96 to 99
    8 seeds       93 to 97     91 to 96     90 to 96     93 to 99

It is short where nearly all seeds succeed nearly always and a few do not: few seeds rarely show how bad those are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from embodkd.evaluation.comparison import check_same_protocol
from embodkd.evaluation.crossed import crossed_spread, spread_over_episodes
from embodkd.evaluation.interval import score_interval
from embodkd.evaluation.result import Evaluation

# Below, the spread among seeds cannot be told (with two, t has one degree of freedom: intervals of nothing to all).
SEEDS_FOR_INTERVAL = 3
# Below, quarters of the seeds cannot be cut off, and pairs of seeds are too few to count.
SEEDS_FOR_SHAPE = 5


@dataclass(frozen=True)
class OverSeeds:
    """Mean success rate over seeds with its 95 % interval, and ``rates``, one per seed.

    The interval is of new seeds and new episodes from three seeds on, of new episodes of these very runs below.
    ``beware`` holds sentences without which the figure should not be read.
    """

    mean: float
    low: float
    high: float
    rates: tuple[float, ...]
    episodes: int
    beware: tuple[str, ...] = ()
    unit: str = "episodes"

    @classmethod
    def of(cls, success_SE: np.ndarray) -> OverSeeds:
        """The statistics of booleans of seeds x episodes, the same episodes for every seed.

        Where all outcomes are alike, nothing in them says how much more several seeds tell than one: the interval is
        then Wilson's for one run on these episodes.  ``ValueError`` if they are no booleans of that shape, or fewer
        than two episodes.
        """
        check_outcomes(success_SE)
        low, high = _interval(success_SE)
        rates = tuple(success_SE.mean(axis=1).tolist())
        return cls(float(success_SE.mean()), low, high, rates, success_SE.shape[1])

    @property
    def of_these_runs(self) -> bool:
        """Whether it speaks of these runs only: fewer than three seeds tell nothing of others."""
        return len(self.rates) < SEEDS_FOR_INTERVAL

    @property
    def interquartile_mean(self) -> float | None:
        """Mean rate of the seeds without the best and the worst quarter (Agarwal et al., 2021, "Deep RL at the edge of
        the statistical precipice"); None below five seeds."""
        if len(self.rates) < SEEDS_FOR_SHAPE:
            return None
        quarter = len(self.rates) // 4
        return fmean(sorted(self.rates)[quarter : len(self.rates) - quarter])

    def __str__(self) -> str:
        seeds = "1 seed" if len(self.rates) == 1 else f"{len(self.rates)} seeds"
        limits = f"95 %: {100 * self.low:.1f} to {100 * self.high:.1f}"
        said = f"{100 * self.mean:.1f} % over {seeds} of {self.episodes} {self.unit} ({limits})"
        if self.interquartile_mean is not None:
            said += f", interquartile mean {100 * self.interquartile_mean:.1f} %"
        if self.of_these_runs:
            said += f"; this speaks of these runs only: it takes {SEEDS_FOR_INTERVAL} seeds to speak of others"
        return f"{said}; beware: {'; '.join(self.beware)}" if self.beware else said


def grouped(evaluations: Sequence[Evaluation]) -> OverSeeds:
    """The statistics of evaluations of runs that differ in their training seed alone.

    ``ValueError`` without any, or naming in what two of them differ: setting, or seeds of the episodes.
    """
    told = OverSeeds.of(crossed_outcomes(evaluations))
    beware = tuple(dict.fromkeys(said for one in evaluations for said in one.beware))
    return replace(told, beware=beware, unit=evaluations[0].unit)


def crossed_outcomes(evaluations: Sequence[Evaluation]) -> np.ndarray:
    """``success_SE`` of evaluations, in their order; ``ValueError`` as ``grouped``."""
    if not evaluations:
        raise ValueError("a group needs at least one evaluation, got none; evaluate the runs first")
    for number, other in enumerate(evaluations[1:], 2):
        try:
            check_same_protocol(evaluations[0], other)
        except ValueError as error:
            raise ValueError(f"evaluations 1 and {number} of the group: {error}") from error
    return np.array([[outcome.success for outcome in one.outcomes] for one in evaluations], dtype=bool)


def check_outcomes(success_SE: np.ndarray, name: str = "success_SE") -> None:
    """Raise ``ValueError`` unless these are booleans of at least one seed x two episodes."""
    shape = success_SE.shape
    if success_SE.dtype != bool or len(shape) != 2 or shape[0] < 1 or shape[1] < 2:
        raise ValueError(
            f"{name} must be booleans of seeds x episodes, at least one seed and two episodes; got {success_SE.dtype} "
            f"of shape {shape}: give one row per seed, whether each episode succeeded"
        )


def _interval(success_SE: np.ndarray) -> tuple[float, float]:
    mean, (seeds, episodes) = float(success_SE.mean()), success_SE.shape
    chance = mean * (1 - mean)
    if chance == 0.0:
        return score_interval(mean, episodes)
    if seeds < SEEDS_FOR_INTERVAL:
        variance = spread_over_episodes(success_SE).variance * (episodes - 1) / episodes
        # Seeds whose failures happen to lie apart tell no more than as many separate episodes.
        return score_interval(mean, chance / max(variance, chance / success_SE.size))
    from scipy.special import stdtrit

    spread = crossed_spread(success_SE)
    centre = math.log(mean / (1 - mean))
    half = float(stdtrit(spread.degrees, 0.975)) * math.sqrt(spread.variance) / chance
    return _logistic(centre - half), _logistic(centre + half)


def _logistic(logit: float) -> float:
    return 0.5 * (1.0 + math.tanh(logit / 2))

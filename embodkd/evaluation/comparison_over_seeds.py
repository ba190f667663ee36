"""Is recipe A better than recipe B?  Two groups of runs on the same episodes, seeds and episodes crossed.

The difference of the mean rates with an interval over new seeds *and* new episodes: variance components (`crossed.py`)
and Student's t with Satterthwaite's degrees of freedom.  In simulations of five seeds against five or eight on 100
episodes, paired or not, it held the truth in 91 to 98 % (`tests/evaluation/crossed_runs.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from embodkd.evaluation.comparison import Verdict, check_margin, check_same_protocol, verdict_on
from embodkd.evaluation.crossed import CrossedSpread, crossed_spread, spread_over_episodes
from embodkd.evaluation.interval import mcnemar, paired_interval
from embodkd.evaluation.over_seeds import SEEDS_FOR_INTERVAL, SEEDS_FOR_SHAPE, check_outcomes, crossed_outcomes
from embodkd.evaluation.result import Evaluation

# What is left of a variance of nothing after thirds and sevenths were added up.
ROUNDING = 1e-15

GroupVerdict = Verdict | Literal["not enough seeds to tell"]


@dataclass(frozen=True)
class ComparisonOverSeeds:
    """Group A against group B: difference of mean rates with its 95 % interval, p-value and verdict.

    ``seeds`` counts those of A and of B, ``paired`` says that they are the same ones.  ``improvement`` is the
    probability that a run of A beats one of B, ties counting half (Agarwal et al., 2021); None below five seeds each.
    """

    difference: float
    low: float
    high: float
    p_value: float
    verdict: GroupVerdict
    margin: float
    seeds: tuple[int, int]
    episodes: int
    paired: bool
    improvement: float | None

    @property
    def of_these_runs(self) -> bool:
        """Whether it speaks of these runs only: fewer than three seeds of either tell nothing of others."""
        return min(self.seeds) < SEEDS_FOR_INTERVAL

    def __str__(self) -> str:
        points = f"{100 * self.difference:+.1f} points (95 %: {100 * self.low:+.1f} to {100 * self.high:+.1f})"
        seeds = f"{self.seeds[0]} paired" if self.paired else f"{self.seeds[0]} and {self.seeds[1]}"
        chance = f"p = {self.p_value:.2g}" if self.p_value >= 0.001 else "p < 0.001"
        said = f"{self.verdict}: {points} over {seeds} seeds of {self.episodes} shared episodes, {chance}"
        if self.improvement is not None:
            said += f", better in {100 * self.improvement:.0f} % of pairs of runs"
        if self.of_these_runs:
            said += f"; this speaks of these runs only: it takes {SEEDS_FOR_INTERVAL} seeds of each to speak of others"
        return said


def compare_over_seeds(
    a_SE: np.ndarray, b_SE: np.ndarray, margin: float = 0.02, *, paired: bool = False
) -> ComparisonOverSeeds:
    """Compare booleans of seeds x episodes of two groups that ran the same episodes.

    ``paired`` says that row by row both were trained with the same seed: the components are then those of the
    differences.  Else the seeds of each are a factor of their own, and their numbers may differ.

    The verdict is ``compare``'s, with the p-value of t; where it needs more, it says whether more seeds or more
    episodes would tell sooner.  Of fewer than three seeds in either, it speaks of these runs only.  One run against one
    is ``compare``'s; so are groups whose outcomes leave nothing to estimate a spread from, counted as one run each.
    ``ValueError`` for other shapes, episodes or seeds that do not match, or a margin that is not positive.
    """
    check_margin(margin)
    _check_groups(a_SE, b_SE, paired)
    seeds, episodes = (len(a_SE), len(b_SE)), a_SE.shape[1]
    difference = float(a_SE.mean() - b_SE.mean())
    spread = _spread(a_SE, b_SE, paired)
    if seeds == (1, 1) or spread.variance < ROUNDING:
        low, high, p_value = _as_one_run_each(a_SE, b_SE)
    else:
        low, high, p_value = _student(difference, spread)
    verdict: GroupVerdict = verdict_on(low, high, p_value, margin)
    if verdict == "not enough episodes to tell" and spread.seeds > spread.episodes:
        verdict = "not enough seeds to tell"
    improvement = _improvement(a_SE, b_SE) if min(seeds) >= SEEDS_FOR_SHAPE else None
    return ComparisonOverSeeds(difference, low, high, p_value, verdict, margin, seeds, episodes, paired, improvement)


def compare_groups(
    groups: Sequence[Sequence[Evaluation]], training_seeds: Sequence[Sequence[int | None]], margin: float = 0.02
) -> ComparisonOverSeeds:
    """``compare_over_seeds`` for the evaluations of two groups of runs.

    ``training_seeds`` are those of each group, None where one is not known: where both have the same ones, runs of the
    same seed are paired.  ``ValueError`` where the settings or the episodes of any two differ.
    """
    check_same_protocol(groups[0][0], groups[1][0])
    success = [crossed_outcomes(group) for group in groups]
    known, other = (sorted(seeds, key=str) for seeds in training_seeds)
    paired = known == other and None not in known and len(set(known)) == len(known)
    if paired:
        success = [
            success_SE[sorted(range(len(seeds)), key=lambda row, of=seeds: str(of[row]))]  # type: ignore[misc]
            for success_SE, seeds in zip(success, training_seeds, strict=True)
        ]
    return compare_over_seeds(success[0], success[1], margin, paired=paired)


def _check_groups(a_SE: np.ndarray, b_SE: np.ndarray, paired: bool) -> None:
    check_outcomes(a_SE, "a_SE")
    check_outcomes(b_SE, "b_SE")
    if a_SE.shape[1] != b_SE.shape[1]:
        raise ValueError(
            f"both groups must have run the same episodes: a_SE has {a_SE.shape[1]}, b_SE {b_SE.shape[1]}; "
            "run both alike"
        )
    if paired and len(a_SE) != len(b_SE):
        raise ValueError(
            f"paired seeds must be the same ones: a_SE has {len(a_SE)}, b_SE {len(b_SE)}; leave out those of one group "
            "only, or compare with paired=False"
        )


def _spread(a_SE: np.ndarray, b_SE: np.ndarray, paired: bool) -> CrossedSpread:
    a_SE, b_SE = a_SE.astype(float), -b_SE.astype(float)
    if min(len(a_SE), len(b_SE)) < SEEDS_FOR_INTERVAL:
        return spread_over_episodes(a_SE, b_SE)
    return crossed_spread(a_SE + b_SE) if paired else crossed_spread(a_SE, b_SE)


def _student(difference: float, spread: CrossedSpread) -> tuple[float, float, float]:
    """``(low, high, p_value)`` of a difference by Student's t."""
    from scipy.special import stdtr, stdtrit

    error = math.sqrt(spread.variance)
    half = float(stdtrit(spread.degrees, 0.975)) * error
    p_value = 2 * float(stdtr(spread.degrees, -abs(difference) / error))
    return max(-1.0, difference - half), min(1.0, difference + half), p_value


def _as_one_run_each(a_SE: np.ndarray, b_SE: np.ndarray) -> tuple[float, float, float]:
    """``(low, high, p_value)`` of two runs, or of groups whose outcomes differ everywhere alike: always or never."""
    episodes = a_SE.shape[1]
    of_a, of_b = (round(episodes * float(outcome_SE.mean())) for outcome_SE in (a_SE, b_SE))
    both = int((a_SE & b_SE).sum()) if len(a_SE) == len(b_SE) == 1 else min(of_a, of_b)
    _, low, high = paired_interval(both, of_a - both, of_b - both, episodes - of_a - of_b + both)
    return low, high, mcnemar(of_a - both, of_b - both)


def _improvement(a_SE: np.ndarray, b_SE: np.ndarray) -> float:
    """The share of pairs of runs in which A's rate is the higher, ties counting half."""
    won_AB = np.sign(a_SE.sum(axis=1)[:, None] - b_SE.sum(axis=1)[None, :])
    return float((1 + won_AB.mean()) / 2)

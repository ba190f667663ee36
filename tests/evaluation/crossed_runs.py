"""Outcomes of runs whose true rates are known, and how often 95 % intervals hold the truth.

The logit of success is an intercept, an effect of the seed and one of the episode, both normal.  *Crossed*: every seed
meets the same episodes.  *Nested*: every seed meets episodes of its own.  The truth is the expected rate over new seeds
and new episodes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from embodkd.evaluation import OverSeeds, compare_over_seeds


def logistic(logit: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(logit / 2))


@cache
def intercept(rate: float, spread: float) -> float:
    """The mean logit at which the expected rate is ``rate`` where logits spread normally; by quadrature, bisection."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    low, high = -30.0, 30.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        expected = (weights * logistic(middle + spread * nodes)).sum() / math.sqrt(2 * math.pi)
        low, high = (middle, high) if expected < rate else (low, middle)
    return low


@dataclass(frozen=True)
class Scene:
    """How runs spread: standard deviations on the logit, numbers of seeds and episodes."""

    rate: float
    seed_sd: float
    episode_sd: float
    seeds: int
    episodes: int
    nested: bool = False

    def draw(
        self, rng: np.random.Generator, seed_S: np.ndarray | None = None, episode_E: np.ndarray | None = None
    ) -> np.ndarray:
        """``success_SE``; the effects, standard normal, are given where another group shares in them."""
        middle = intercept(self.rate, math.hypot(self.seed_sd, self.episode_sd))
        if seed_S is None:
            seed_S = rng.standard_normal(self.seeds)
        if episode_E is None:
            episode_E = rng.standard_normal((self.seeds, self.episodes) if self.nested else self.episodes)
        chance_SE = logistic(middle + self.seed_sd * seed_S[:, None] + self.episode_sd * episode_E)
        return rng.random((self.seeds, self.episodes)) < chance_SE


def coverage(scene: Scene, draws: int, rng: np.random.Generator) -> float:
    """The share of intervals of one group that hold its expected rate."""
    told = (OverSeeds.of(scene.draw(rng)) for _ in range(draws))
    return sum(one.low <= scene.rate <= one.high for one in told) / draws


def coverage_of_difference(
    a: Scene, b: Scene, alike: float, paired: bool, draws: int, rng: np.random.Generator
) -> float:
    """The share of intervals of a difference that hold the true one.

    ``alike`` correlates what an episode does to both groups, and where they are paired, what a seed does.
    """

    def effects(count: int) -> tuple[np.ndarray, np.ndarray]:
        one, other = rng.standard_normal((2, count))
        return one, alike * one + math.sqrt(1 - alike**2) * other

    held = 0
    for _ in range(draws):
        seeds = effects(a.seeds) if paired else (None, None)
        episodes = effects(a.episodes)
        a_SE, b_SE = a.draw(rng, seeds[0], episodes[0]), b.draw(rng, seeds[1], episodes[1])
        told = compare_over_seeds(a_SE, b_SE, paired=paired)
        held += told.low <= a.rate - b.rate <= told.high
    return held / draws


def scenes(rates: tuple[float, ...], seeds: tuple[int, ...]) -> Iterator[Scene]:
    """All combinations of spreads at these rates and numbers of seeds; nested ones too."""
    spreads = ((0.0, 0.5, 1.0), (0.0, 1.0, 2.0))
    for rate, seed_sd, episode_sd, count, episodes in itertools.product(rates, *spreads, seeds, (100, 200)):
        for nested in (False, True) if episode_sd else (False,):
            yield Scene(rate, seed_sd, episode_sd, count, episodes, nested)


def table(rates: tuple[float, ...], seeds: tuple[int, ...], draws: int = 2000) -> dict[Scene, float]:
    """Coverage of the interval of one group in all these scenes: minutes.

    ``python -c "import crossed_runs; print(crossed_runs.table((.3, .6, .85, .95), (5, 8)))"`` in this folder.
    """
    return {scene: coverage(scene, draws, np.random.default_rng(0)) for scene in scenes(rates, seeds)}

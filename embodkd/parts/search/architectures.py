"""Search over architectures without training: a space of choices, regularised evolution, random search.

An architecture is a tuple with one choice per place of the space. Whoever judges one is a function to a number, higher
is better; it is asked once per architecture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Literal

import numpy as np
from scipy.stats import spearmanr

Architecture = tuple[Any, ...]
Judge = Callable[[Architecture], float]
Allowed = Callable[[Architecture], bool]
_TRIES = 100


@dataclass(frozen=True)
class Space:
    """All tuples with one of `choices[k]` at place k."""

    choices: tuple[tuple[Hashable, ...], ...]

    def __post_init__(self) -> None:
        if not self.choices or any(len(set(place)) != len(place) or not place for place in self.choices):
            raise ValueError(f"a space needs places, each with different choices; got {self.choices}")

    def __len__(self) -> int:
        return prod(len(place) for place in self.choices)

    def __iter__(self) -> Iterator[Architecture]:
        return product(*self.choices)

    def draw(self, rng: np.random.Generator) -> Architecture:
        """One at random."""
        return tuple(place[rng.integers(len(place))] for place in self.choices)

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """The same with another choice at one random place; itself where there is no other choice at all."""
        places = [k for k, place in enumerate(self.choices) if len(place) > 1]
        if not places:
            return architecture
        k = places[rng.integers(len(places))]
        others = [choice for choice in self.choices[k] if choice != architecture[k]]
        return (*architecture[:k], others[rng.integers(len(others))], *architecture[k + 1 :])


@dataclass(frozen=True)
class Search:
    """How to go through a space: `how` and the sizes of `evolve`; `evaluations` is its population and children."""

    how: Literal["evolution", "random", "all"] = "evolution"
    evaluations: int = 1000
    population: int = 36
    sample: int = 8
    top: int = 5

    def __call__(self, space: Space, judge: Judge, allowed: Allowed, seed: int) -> dict[Architecture, float]:
        """{architecture: what `judge` says}, all that were judged."""
        rng = np.random.default_rng(seed)
        if self.how == "all":
            return every(space, judge, allowed)
        if self.how == "random":
            return at_random(space, judge, allowed, evaluations=self.evaluations, rng=rng)
        sizes = {"population": self.population, "sample": self.sample, "top": self.top}
        return evolve(space, judge, allowed, **sizes, children=max(0, self.evaluations - self.population), rng=rng)


def every(space: Space, judge: Judge, allowed: Allowed) -> dict[Architecture, float]:
    """{architecture: what `judge` says} of all that are allowed."""
    return {architecture: judge(architecture) for architecture in space if allowed(architecture)}


def at_random(
    space: Space, judge: Judge, allowed: Allowed, *, evaluations: int, rng: np.random.Generator
) -> dict[Architecture, float]:
    """The same of up to `evaluations` different ones, drawn at random."""
    return {architecture: judge(architecture) for architecture in _different(space, allowed, evaluations, rng)}


def evolve(
    space: Space,
    judge: Judge,
    allowed: Allowed,
    *,
    population: int = 36,
    sample: int = 8,
    top: int = 5,
    children: int = 964,
    rng: np.random.Generator,
) -> dict[Architecture, float]:
    """Regularised evolution (Real et al. 2019): everything it judged, in that order.

    It starts from up to `population` different architectures. A child is a mutation of a random one of the `top` best
    among `sample` random living ones; it joins, and the oldest dies. What is not allowed is never judged, and a child
    that was known before is not judged again. ValueError when nothing that is allowed can be found.
    """
    found = {architecture: judge(architecture) for architecture in _different(space, allowed, population, rng)}
    living = deque(found, maxlen=len(found))
    for _ in range(children):
        places = rng.choice(len(living), min(sample, len(living)), replace=False)
        best = sorted((living[k] for k in places), key=lambda one: -found[one])[:top]
        parent = best[rng.integers(len(best))]
        child = next((c for _ in range(_TRIES) if allowed(c := space.mutate(parent, rng))), None)
        if child is None:
            continue
        if child not in found:
            found[child] = judge(child)
        living.append(child)
    return found


def ranked(found: dict[Architecture, float]) -> Sequence[Architecture]:
    """Best first; ties in the order in which they were found."""
    return sorted(found, key=lambda one: -found[one])


def rank_correlation(values: Sequence[float], truth: Sequence[float]) -> float:
    """Spearman's correlation of two lists of the same length, in [-1, 1]; 0 where one of them is constant."""
    constant = len(set(values)) < 2 or len(set(truth)) < 2
    return 0.0 if constant else float(spearmanr(values, truth).statistic)


def _different(space: Space, allowed: Allowed, count: int, rng: np.random.Generator) -> list[Architecture]:
    """Up to `count` different allowed ones; fewer if `_TRIES` draws for each do not find as many."""
    found: dict[Architecture, None] = {}
    for _ in range(_TRIES * count):
        if len(found) == min(count, len(space)):
            break
        drawn = space.draw(rng)
        if drawn not in found and allowed(drawn):
            found[drawn] = None
    if not found:
        raise ValueError("search: no architecture of the space is allowed; raise the limit, or offer smaller choices")
    return list(found)

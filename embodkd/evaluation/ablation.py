"""Does the policy use its sensors?  Each group blanked, shuffled across copies, or frozen at its first frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core import Actor
from embodkd.core.ranks import alone, ranks
from embodkd.core.sources.chunks import CHUNK
from embodkd.envs import BatchTask
from embodkd.evaluation.comparison import Comparison, compare
from embodkd.evaluation.judge import evaluate
from embodkd.evaluation.result import Evaluation, write_result
from embodkd.policies.session import Session, session_of

WAYS = ("blank", "mean", "shuffle", "freeze")


@dataclass(frozen=True)
class Ablation:
    """The evaluation with all sensors, and one per (group, way of spoiling it), on the same seeds."""

    intact: Evaluation
    spoiled: dict[tuple[str, str], Evaluation]

    def comparisons(self) -> dict[tuple[str, str], Comparison]:
        """Spoiled against intact, paired."""
        return {key: compare(evaluation, self.intact) for key, evaluation in self.spoiled.items()}

    def unused(self) -> tuple[str, ...]:
        """The groups that can be spoiled in every way without the policy getting measurably worse."""
        worse = {group for (group, _), c in self.comparisons().items() if c.verdict == "worse"}
        return tuple(dict.fromkeys(group for group, _ in self.spoiled if group not in worse))

    def as_dict(self) -> dict[str, Any]:
        """The contents of ablation.json: one row per group and way."""

        def numbers(evaluation: Evaluation) -> dict[str, Any]:
            return {k: evaluation.as_dict()[k] for k in ("success_rate", "successes", "episodes", "ci95", "failures")}

        rows = [
            {"group": group, "way": way, **numbers(self.spoiled[group, way]), "difference": c.difference,
             "difference_ci95": [c.low, c.high], "verdict": c.verdict}
            for (group, way), c in self.comparisons().items()
        ]  # fmt: skip
        return {
            "intact": numbers(self.intact),
            "rows": rows,
            "unused": list(self.unused()),
            "protocol": self.intact.protocol,
            "manifest": self.intact.manifest,
        }

    def save(self, path: str | Path) -> Path:
        """Write ablation.json; a folder gets a file of that name inside."""
        return write_result(path, "ablation.json", self.as_dict(), self)

    def __str__(self) -> str:
        lines = [f"{'all sensors':<28}{self.intact}"]
        for (group, way), comparison in self.comparisons().items():
            lines.append(f"{group + ' ' + way:<28}{self.spoiled[group, way]}  {comparison.verdict}")
        return "\n".join(lines)


def ablate(
    policy: Actor,
    task: BatchTask,
    *,
    groups: Sequence[str] | None = None,
    ways: Sequence[str] = WAYS,
    episodes: int = 100,
    seed: int = 0,
    quiet: bool = False,
) -> Ablation:
    """Spoil each of ``groups`` (None: every deployable one that the policy reads) in each of ``ways``.

    - ``blank``: zeros; ``mean``: the group's mean over the intact run, pixel by pixel;
    - ``shuffle``: every copy gets its neighbour's, a plausible sensor of another episode; one that runs alone, that of
      an episode before it.  This alone depends on the number of copies, and needs at least two;
    - ``freeze``: what was seen at the first step of the episode, for all of it.

    A blank image is out of distribution and may hurt a policy that hardly looks; the shuffled one is the fairest.
    """
    spec = task.spec
    chosen = spec.check_groups(groups or [name for name in policy.reads if spec.groups[name].deployable])
    unread = [name for name in chosen if name not in policy.reads]
    if unread:
        raise ValueError(f"ablate: the policy does not read {unread}; it reads: {', '.join(policy.reads)}")
    unknown = [way for way in ways if way not in WAYS]
    if unknown:
        raise ValueError(f"ablate: unknown way {unknown}; choose from {', '.join(WAYS)}")
    if "shuffle" in ways and min(task.num_envs, episodes) < 2:
        raise ValueError("ablate: shuffling needs at least two copies of the task and two episodes")
    measured, together = _Averaged(policy, chosen), ranks()
    keys = [(name, way) for name in chosen for way in ways]
    # Whole evaluations are shared out, not their episodes: who is whose neighbour must not depend on the ranks.
    with alone():
        intact = evaluate(measured, task, episodes=episodes, seed=seed, quiet=quiet)
        spoiled = [
            evaluate(_Spoiled(policy, *key, measured.mean(key[0])), task, episodes=episodes, seed=seed, quiet=quiet)
            for key in together.share(keys)
        ]
    return Ablation(intact, dict(zip(keys, together.merged(spoiled), strict=True)))


class _Altered:
    """An actor and its own session: `policy`, whose observations are altered on their way to it."""

    def __init__(self, policy: Actor) -> None:
        self.policy, self.reads = policy, policy.reads

    def session(self, copies: int, chunk: int = CHUNK) -> Session:
        """Itself; one evaluation at a time."""
        self._session = session_of(self.policy, copies, chunk)
        self._fresh_N = np.ones(copies, bool)
        return self

    def begin(self, ids: np.ndarray | None = None) -> None:
        """See Session.begin."""
        self._session.begin(ids)
        self._fresh_N[slice(None) if ids is None else ids] = True

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """See Session.act."""
        ids = np.arange(len(self._fresh_N)) if ids is None else ids
        action_nA = self._session.act(self.alter(dict(obs), ids), ids)
        self._fresh_N[ids] = False
        return action_nA

    def alter(self, obs: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, np.ndarray]:
        """What is seen in place of `obs`."""
        raise NotImplementedError


class _Averaged(_Altered):
    """Passes observations on unchanged and keeps the mean of each group."""

    def __init__(self, policy: Actor, groups: Sequence[str]) -> None:
        super().__init__(policy)
        self._sums = dict.fromkeys(groups, np.float64(0))
        self._rows = 0

    def alter(self, obs: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, np.ndarray]:
        self._rows += len(ids)
        for name in self._sums:
            self._sums[name] = self._sums[name] + obs[name].sum(axis=0, dtype=np.float64)
        return obs

    def mean(self, name: str) -> np.ndarray:
        return np.asarray(self._sums[name] / self._rows)


class _Spoiled(_Altered):
    """Gets one group spoiled in one way."""

    def __init__(self, policy: Actor, name: str, way: str, mean: np.ndarray) -> None:
        super().__init__(policy)
        self.name, self.way, self.mean = name, way, mean
        self._first: dict[int, np.ndarray] = {}
        # what was seen in the first episodes of two copies, for one that has no neighbour
        self._films: dict[int, list[np.ndarray]] = {}
        self._age: dict[int, int] = {}

    def alter(self, obs: dict[str, np.ndarray], ids: np.ndarray) -> dict[str, np.ndarray]:
        seen = obs[self.name]
        if self.way == "blank":
            shown = np.zeros_like(seen)
        elif self.way == "mean":
            shown = np.repeat(self.mean.astype(seen.dtype)[None], len(seen), axis=0)
        elif self.way == "shuffle":
            shown = self._others(seen, ids)
        else:
            fresh_n = self._fresh_N[ids]
            self._first.update(zip(ids[fresh_n].tolist(), seen[fresh_n].copy(), strict=True))
            shown = np.stack([self._first[copy] for copy in ids.tolist()])
        return {**obs, self.name: shown}

    def _others(self, seen: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """What another episode sees, for each of these copies."""
        for row, copy in enumerate(ids.tolist()):
            self._age[copy] = 0 if self._fresh_N[copy] else self._age[copy] + 1
            film = self._films.setdefault(copy, []) if len(self._films) < 2 else self._films.get(copy)
            if film is not None and len(film) == self._age[copy]:
                film.append(seen[row].copy())
        if len(ids) > 1:
            return np.roll(seen, 1, axis=0)
        alone = int(ids[0])
        film = next(film for copy, film in self._films.items() if copy != alone)
        return film[self._age[alone] % len(film)][None]

"""Does the policy use its sensors?  Each group blanked, shuffled across copies, or frozen at its first frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core.files import write_json
from embodkd.core.ranks import alone, ranks
from embodkd.core.rollout import Actor
from embodkd.envs import BatchTask
from embodkd.evaluation.compare import Comparison, compare
from embodkd.evaluation.evaluate import Alter, evaluate
from embodkd.evaluation.result import Evaluation

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
        path = Path(path)
        if path.suffix != ".json":
            path = path / "ablation.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, self.as_dict())
        return path

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
    - ``shuffle``: every copy gets its neighbour's, a plausible sensor of another episode.  This alone depends on the
      number of copies, and needs at least two;
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
    means, together = _Means(chosen), ranks()
    keys = [(name, way) for name in chosen for way in ways]
    # Whole evaluations are shared out, not their episodes: who is whose neighbour must not depend on the ranks.
    with alone():
        intact = evaluate(policy, task, episodes=episodes, seed=seed, alter=means, quiet=quiet)
        spoiled = [
            evaluate(policy, task, episodes=episodes, seed=seed, alter=_spoiler(name, way, means), quiet=quiet)
            for name, way in together.share(keys)
        ]
    return Ablation(intact, dict(zip(keys, together.merged(spoiled), strict=True)))


class _Means:
    """Passes observations on unchanged and keeps the mean of each group."""

    def __init__(self, groups: Sequence[str]) -> None:
        self._sums = dict.fromkeys(groups, np.float64(0))
        self._rows = 0

    def __call__(self, obs: dict[str, np.ndarray], ids: np.ndarray, steps: np.ndarray) -> dict[str, np.ndarray]:
        self._rows += len(ids)
        for name in self._sums:
            self._sums[name] = self._sums[name] + obs[name].sum(axis=0, dtype=np.float64)
        return obs

    def mean(self, name: str) -> np.ndarray:
        return np.asarray(self._sums[name] / self._rows)


def _spoiler(name: str, way: str, means: _Means) -> Alter:
    first: dict[int, np.ndarray] = {}

    def spoil(obs: dict[str, np.ndarray], ids: np.ndarray, steps: np.ndarray) -> dict[str, np.ndarray]:
        seen = obs[name]
        if way == "blank":
            shown = np.zeros_like(seen)
        elif way == "mean":
            shown = np.repeat(means.mean(name).astype(seen.dtype)[None], len(seen), axis=0)
        elif way == "shuffle":
            shown = np.roll(seen, 1, axis=0)
        else:
            first.update({int(ids[row]): seen[row].copy() for row in np.flatnonzero(steps == 0)})
            shown = np.stack([first[int(copy)] for copy in ids])
        return {**obs, name: shown}

    return spoil

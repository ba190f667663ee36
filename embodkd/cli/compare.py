"""`embodkd compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from embodkd.cli.common import WorldChoice, needed, use_threads
from embodkd.cli.judged import Judged, opened
from embodkd.core.config.ranges import Copies, Episodes, EpisodeSeed, Share, Threads
from embodkd.core.runs.study import StudyRun, runs_at

if TYPE_CHECKING:
    from embodkd.evaluation import Evaluation

_USUAL = 200
"""Episodes where nothing is stored and none are asked for, as `embodkd evaluate` runs them."""


@dataclass(frozen=True, kw_only=True)
class ComparePolicies(WorldChoice):
    """Hold two on the same episodes, of one seed or several, and print the verdict. What is stored of a run on these
    episodes is taken as it is, the rest is judged now. Of a study all runs count, seed against seed."""

    policy: str | None
    against: str | None
    margin: Share
    episodes: Episodes | None
    seed: EpisodeSeed | list[EpisodeSeed]
    copies: Copies
    torch_threads: Threads
    quiet: bool

    def __call__(self) -> int:
        """The exit code."""
        from embodkd.evaluation import compare, compare_groups

        seeds = [self.seed] if isinstance(self.seed, int) else self.seed
        if len(set(seeds)) < max(1, len(seeds)):
            raise ValueError(f"seed: {self.seed} are not different seeds: an episode counts once")
        if not (str(self.policy).endswith(".json") and str(self.against).endswith(".json")):
            use_threads(self.torch_threads)  # torch is for those that may act: two files need none
        sides = [self._side(key, seeds) for key in ("policy", "against")]
        counts = {seed: self.episodes or _most(seed, [one for side in sides for one in side]) for seed in seeds}
        results = [[_on(one, counts) for one in side] for side in sides]
        if len(sides[0]) == len(sides[1]) == 1:
            verdict = str(compare(results[0][0], results[1][0], self.margin))
        else:
            of_seeds = [[one.training_seed for one in side] for side in sides]
            verdict = str(compare_groups(results, of_seeds, self.margin))
        print(f"{self.policy} against {self.against}: {verdict}")
        return 0

    def _side(self, key: str, seeds: list[int]) -> list[Judged]:
        """The run, or the runs of the study, that a key names."""
        path = Path(needed(getattr(self, key), key, "embodkd compare policy=runs/a against=runs/b"))
        runs = runs_at(path) or (StudyRun(path, {}),)
        if len({tuple(run.group.items()) for run in runs}) > 1:
            groups = dict.fromkeys(",".join(f"{k}={v}" for k, v in run.group.items()) for run in runs)
            raise ValueError(
                f"{key}={path}: its runs differ in more than their seed; name those of one kind: {path}/"
                + f" or {path}/".join(list(groups)[:4])
            )
        judged = [opened(f"{key}={run.folder}", run.folder, self, self.copies, seeds, self.quiet) for run in runs]
        return [replace(one, training_seed=run.seed) for one, run in zip(judged, runs, strict=True)]


def _most(seed: int, judged: list[Judged]) -> int:
    """As many episodes of a seed as the longest that is stored has."""
    stored = [one.stored[key] for one in judged for key in (seed, None) if key in one.stored]
    return max((e.episodes for e in stored if e.protocol.get("seed") == seed), default=_USUAL)


def _on(one: Judged, counts: Mapping[int, int]) -> Evaluation:
    """Its evaluation on all seeds' episodes together, printed."""
    from embodkd.evaluation import Evaluation

    found = [one.on(seed, episodes) for seed, episodes in counts.items()]
    together = found[0] if one.judge is None else Evaluation.together(found)
    stored = " (stored)" if all(any(e is known for known in one.stored.values()) for e in found) else ""
    print(f"{one.path}: {together}{stored}")
    return together

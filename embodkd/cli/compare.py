"""`embodkd compare`."""

from __future__ import annotations

from dataclasses import dataclass
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
        from embodkd.evaluation import compare, compare_over_seeds

        seeds = [self.seed] if isinstance(self.seed, int) else self.seed
        if len(set(seeds)) < max(1, len(seeds)):
            raise ValueError(f"seed: {self.seed} are not different seeds: an episode counts once")
        use_threads(self.torch_threads)
        sides = [self._side(key, seeds) for key in ("policy", "against")]
        counts = {seed: self.episodes or _most(seed, [one for side in sides for one in side]) for seed in seeds}
        results = [[_on(one, counts) for one in side] for side in sides]
        named = f"{self.policy} against {self.against}"
        if len(results[0]) == len(results[1]) == 1:
            print(f"{named}: {compare(results[0][0], results[1][0], self.margin)}")
        else:
            print(f"{named}: {compare_over_seeds(*_paired(sides, results), self.margin)}")
        return 0

    def _side(self, key: str, seeds: list[int]) -> list[Judged]:
        """The run, or the runs of the study, that a key names."""
        path = Path(needed(getattr(self, key), key, "embodkd compare policy=runs/a against=runs/b"))
        runs = runs_at(path) or (StudyRun(path),)
        if len({tuple(run.group.items()) for run in runs}) > 1:
            groups = dict.fromkeys(",".join(f"{k}={v}" for k, v in run.group.items()) for run in runs)
            raise ValueError(
                f"{key}={path}: its runs differ in more than their seed; name those of one kind: {path}/"
                + f" or {path}/".join(list(groups)[:4])
            )
        return [opened(key, run, self, self.copies, seeds, self.quiet) for run in runs]

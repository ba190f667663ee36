"""`embodkd evaluate replay=...`: what one recorded episode comes to that is replayed without looking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import WorldChoice, changed, needed, simulated, use_threads
from embodkd.cli.evaluate import file_name
from embodkd.cli.recorded import check_range, demos_folders, opened
from embodkd.core.config.ranges import Copies, Episodes, EpisodeSeed, Threads
from embodkd.core.ranks import ranks
from embodkd.core.runs.study import groups_of

if TYPE_CHECKING:
    from embodkd.data.lerobot import About
    from embodkd.envs import TaskSpec


@dataclass(frozen=True, kw_only=True)
class JudgeReplay(WorldChoice):
    """Judge the best of the episodes of a dataset as if it were a policy: what students must be held against."""

    replay: str | None
    tries: Episodes
    episodes: Episodes
    seed: EpisodeSeed
    copies: Copies
    out: str | None
    torch_threads: Threads
    quiet: bool

    def __call__(self) -> int:
        """The exit code."""
        from embodkd.data.lerobot import Memory, Reading
        from embodkd.envs import make_task
        from embodkd.evaluation.replay import judge_replay
        from embodkd.policies.fit import transferred

        use_threads(self.torch_threads)
        where = self._demos(self.replay)
        data = opened(where, (), Reading(), failed=True, memory=Memory(0.0))
        own = _record(data.about)
        name, options = self._world(own, where)
        check_range(data, where)
        with closing(make_task(name, self.copies, **options)) as world:
            apart = self._apart(own, data.about.fps, world.spec, where)
            result = judge_replay(
                world, data, episodes=self.episodes, seed=self.seed, tries=self.tries, quiet=self.quiet
            )
        found = {"demos": str(where), "recorded_in": own, **result.manifest["replay"]}
        beware = [transferred(apart)] if apart else []
        result = replace(result, manifest=result.manifest | {"replay": found, "beware": beware})
        file = Path(self.out) if self.out is not None else self._written(where)
        ranks().first_does(lambda: result.save(file))
        print(f"{where}: {result}")
        chosen = f"  episode {found['episode']}, the best of {found['recordings']}"
        print(f"{chosen}: {found['successes']} of {found['of']} where it was tried")
        return 0

    def over_seeds(self, judged: Sequence[JudgeReplay]) -> None:
        """Print what the recordings of a study come to, those that differ in their seed alone together."""
        from embodkd.evaluation import Evaluation, grouped

        print()
        for name, runs in groups_of([Path(str(one.replay)) for one in judged]).items():
            print(f"{name}: {grouped([Evaluation.load(self._written(self._demos(str(run)))) for run in runs])}")

    def _demos(self, replay: str | None) -> Path:
        example = "embodkd evaluate replay=runs/record_expert_peg_assembly"
        return demos_folders(needed(replay, "replay", example))[0]

    def _world(self, own: Mapping[str, Any], where: Path) -> tuple[str, dict[str, Any]]:
        if not self.task and not simulated(own):
            raise ValueError(
                f"{where}: was recorded in no simulator that is here ({own['name'] or 'it names no task'}): say "
                "task=... with transfer=true to replay it in a task that it was not recorded in"
            )
        return self.task_of({"task": own})

    def _apart(self, own: Mapping[str, Any], fps: float, spec: TaskSpec, where: Path) -> tuple[str, ...]:
        from embodkd.policies.fit import worlds_apart

        apart = tuple(worlds_apart(own, fps, spec))
        if apart and not self.transfer:
            raise ValueError(
                f"{where}: was recorded in another world ({'; '.join(apart)}); say transfer=true to replay it here all "
                "the same, which is then said beside the figure"
            )
        return apart

    def _written(self, where: Path) -> Path:
        """Where the judgement lies: beside the dataset, in its run folder; in the dataset itself where it has none."""
        from embodkd.data.lerobot import about

        own = _record(about(where))
        name, options = self._world(own, where)
        beside = where.parent if where.name == "demos" else where
        return beside / file_name("replay", changed({"task": own}, name, options), self.seed)


def _record(about: About) -> dict[str, Any]:
    """The task that a dataset names; its name is None where it names none."""
    return {"name": None, **about.task}

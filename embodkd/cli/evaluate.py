"""`embodkd evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embodkd.cli.common import (
    WorldChoice,
    changed,
    classifier_file,
    is_classifier,
    needed,
    policy_folder,
    run_folder,
    task_options,
    use_threads,
)
from embodkd.cli.experts import EXPERT, expert_of
from embodkd.core.config.ranges import Copies, Episodes, EpisodeSeed, Positive, Threads
from embodkd.core.ranks import ranks
from embodkd.core.runs.study import groups_of


def judge(
    policy: str | Path,
    *,
    episodes: int,
    seed: int = 0,
    copies: int = 64,
    out: str | Path | None = None,
    chosen: WorldChoice | None = None,
    quiet: bool = False,
) -> Any:
    """Evaluate a saved policy and write the result beside it; returns the Evaluation."""
    from embodkd.evaluation import evaluate as run
    from embodkd.policies import load_policy

    folder = policy_folder(policy)
    actor, meta = load_policy(folder)
    chosen = chosen or WorldChoice()
    name, options = chosen.task_of(meta)
    result = run(
        actor,
        name,
        options,
        episodes=episodes,
        seed=seed,
        copies=copies,
        policy_folder=folder,
        transfer=chosen.transfer,
        quiet=quiet,
    )
    file = out or run_folder(folder) / file_name("evaluation", changed(meta, name, options), seed)
    ranks().first_does(lambda: result.save(file))
    return result


def file_name(kind: str, other: str, seed: int) -> str:
    """The file of a judgement: those of an `other` world, or of another seed than 0, have names of their own."""
    return f"{'_'.join(part for part in (kind, other, f'seed_{seed}' if seed else '') if part)}.json"


@dataclass(frozen=True, kw_only=True)
class EvaluatePolicy(WorldChoice):
    """Judge one policy. The exit code is 1 if the leak probe finds that it uses privileged groups undeclared."""

    policy: str | None
    episodes: Episodes
    seed: EpisodeSeed
    copies: Copies
    out: str | None
    demos: str | list[str] | None
    demos_keys: Mapping[str, str] | None
    failed: bool | None
    memory_gb: Positive
    part: str
    ablate: bool
    probe: bool
    torch_threads: Threads
    quiet: bool

    def __call__(self) -> int:
        """The exit code."""
        use_threads(self.torch_threads)
        where = needed(self.policy, "policy", "embodkd evaluate policy=runs/student_peg_hole")
        if where == EXPERT:
            return self._expert()
        if is_classifier(where):
            world = self.task or self.engine or self.randomise or self.transfer or self.ablate or self.probe
            if world or self.demos or self.demos_keys or self.failed is not None:
                raise ValueError(
                    f"{where} is a classifier: task, engine, randomise, transfer, ablate, probe, demos, demos_keys and "
                    "failed are for policies"
                )
            return _classifier(where, self.part, self.out)
        folder = policy_folder(where)
        if self.demos is not None:
            return self._recorded(folder, self.demos)
        if self.demos_keys or self.failed is not None:
            raise ValueError("demos_keys and failed say how recorded episodes are read: name those, too, demos=FOLDER")
        if self.ablate and min(self.episodes, self.copies) < 2:
            raise ValueError(
                "ablate=true gives episodes each other's sensors: it needs episodes and copies of at least 2"
            )
        result = judge(
            folder,
            episodes=self.episodes,
            seed=self.seed,
            copies=self.copies,
            out=self.out,
            chosen=self,
            quiet=self.quiet,
        )
        print(f"{folder}: {result}")
        for reason, count in result.failures.items():
            print(f"  {reason}: {count}")
        return self._look_closer(folder) if self.ablate or self.probe else 0

    def over_seeds(self, judged: Sequence[EvaluatePolicy]) -> None:
        """Print what the runs of a study come to, those that differ in their seed alone together."""
        from embodkd.evaluation import Evaluation, grouped

        if self.demos is not None:
            return
        print()
        for name, runs in groups_of([Path(str(one.policy)) for one in judged]).items():
            print(f"{name}: {grouped([Evaluation.load(self._written(run)) for run in runs])}")

    def _written(self, run: Path) -> Path:
        """Where the judgement of a run lies."""
        from embodkd.policies.artefact import read_meta

        if is_classifier(run):
            return classifier_file(run, self.part)
        meta = read_meta(policy_folder(run))
        return run_folder(run) / file_name("evaluation", changed(meta, *self.task_of(meta)), self.seed)

    def _expert(self) -> int:
        """Judge the task's scripted expert, by a steady hand."""
        from embodkd.envs import make_task
        from embodkd.evaluation import evaluate

        if self.demos is not None or self.ablate or self.probe:
            raise ValueError("policy=expert acts on the simulator's state: leave out demos, ablate and probe")
        line = "embodkd evaluate policy=expert task=grasp out=runs/expert.json"
        name, file = needed(self.task, "task", line)["name"], needed(self.out, "out", line)
        options = task_options(self.task, self.engine, self.randomise)
        with closing(make_task(name, min(self.copies, self.episodes), **options)) as world:
            actor = expert_of(world, 0.0)
            result = evaluate(actor, world, episodes=self.episodes, seed=self.seed, quiet=self.quiet)
        ranks().first_does(lambda: result.save(file))
        print(f"expert of {name}: {result}")
        for reason, count in result.failures.items():
            print(f"  {reason}: {count}")
        return 0

    def _recorded(self, folder: Path, demos: str | list[str]) -> int:
        from embodkd.cli.judge_recorded import judge_recorded
        from embodkd.data.lerobot import Memory

        if self.task or self.engine or self.randomise or self.transfer or self.ablate or self.probe:
            raise ValueError(
                "demos=... judges by recorded episodes: leave out task, engine, randomise, transfer, ablate and probe"
            )
        result = judge_recorded(
            folder,
            demos,
            episodes=self.episodes,
            memory=Memory(self.memory_gb * 1e9),
            copies=self.copies,
            keys=self.demos_keys,
            failed=self.failed,
            out=self.out,
            tell=lambda line: print(f"{folder}: {line}"),
            quiet=self.quiet,
        )
        print(f"{folder}: {result}")
        return 0

    def _look_closer(self, folder: Path) -> int:
        from embodkd.envs import make_task
        from embodkd.evaluation import ablate, probe_leak
        from embodkd.policies import load_policy

        actor, meta = load_policy(folder)
        name, options = self.task_of(meta)
        world = make_task(name, min(self.copies, self.episodes) if self.ablate else self.copies, **options)
        try:
            if self.ablate:
                ablation = ablate(actor, world, episodes=self.episodes, seed=self.seed, quiet=self.quiet)
                beside = run_folder(folder) if self.out is None else Path(self.out).parent
                file = beside / file_name("ablation", changed(meta, name, options), self.seed)
                ranks().first_does(lambda: ablation.save(file))
                print(ablation)
            leaks: tuple[str, ...] = ()
            if self.probe:
                found = probe_leak(actor, world, seed=self.seed)
                declared = {name for name, group in meta["groups"].items() if group["privileged"]}
                leaks = tuple(name for name in found.leaks if name not in declared)
                said = (
                    f"its actions depend on {', '.join(leaks)}" if leaks else "nothing privileged reaches its actions"
                )
                print(f"leak probe: {said}")
                for group in found.ignored:
                    print(f"leak probe: {group} is read but changes nothing")
        finally:
            world.close()
        return 1 if leaks else 0


def _classifier(folder: str, part: str, out: str | None) -> int:
    from embodkd.cli.classifier import judge_model

    result = judge_model(folder, part, out)
    print(f"{folder}: {result}")
    for name, value in result.manifest["measures"].items():
        print(f"  {name}: {value:.4g}")
    return 0

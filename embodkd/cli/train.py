"""`embodkd train teacher` and `embodkd train residual`: their keys are those of the configs beside their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import WorldChoice, needed, policy_folder, task_options, threads_of, use_threads
from embodkd.cli.groups import PPO, TD3, Engine, Network, Randomise, Residual, ResidualPPO, Task
from embodkd.cli.inputs import check_inputs
from embodkd.core.config.ranges import Judged
from embodkd.rl.config import LoopConfig, TeacherConfig
from embodkd.rl.residual.config import ResidualConfig

if TYPE_CHECKING:
    from embodkd.core import RunFolder
    from embodkd.rl.loop import Learned


@dataclass(frozen=True, kw_only=True)
class Train(WorldChoice, LoopConfig):
    """What both have beside the settings of the training: where it goes, what it is judged by, in which world."""

    run: str | None
    resume: bool
    episodes: Judged
    tracker: str | None

    def learn(
        self,
        run: str,
        given: Mapping[str, str | Path | None],
        train: Callable[[RunFolder, int], Learned],
        after: Callable[[Path, Path], None] | None = None,
    ) -> int:
        """Train into the folder `run`, judge its best policy on fresh episodes, and last call `after`(run, policy).

        given: key -> the folder of a policy that it starts from. train is told how many threads torch has.
        """
        from embodkd.core import RunFolder

        use_threads(self.torch_threads)
        with RunFolder.open(run, {**asdict(self), "run": run}, self.resume, self.tracker) as folder:
            check_inputs(folder.path, given=given)
            learned = train(folder, threads_of(folder, self.torch_threads))
            print(f"{run}: {learned.steps} steps in {learned.minutes:.1f} min")
            if self.episodes:
                from embodkd.cli.evaluate import judge

                print(f"{run}: {judge(learned.policy, episodes=self.episodes, quiet=self.quiet)}")
                if after is not None:
                    after(folder.path, learned.policy)
            folder.finish(minutes=learned.minutes)
        return 0


@dataclass(frozen=True, kw_only=True)
class TrainTeacher(Train, TeacherConfig):
    """Train by PPO into the folder `run`, then judge the best policy on fresh episodes."""

    run: str
    task: Task
    engine: Engine
    randomise: Randomise
    network: Network
    ppo: PPO

    def __call__(self) -> int:
        """The exit code."""
        from embodkd.rl.train import train_teacher

        config = replace(
            self,
            init=None if self.init is None else policy_folder(self.init),
            ppo={name: value for name, value in self.ppo.items() if name != "steps"},
        )
        options = task_options(self.task, self.engine, self.randomise)
        if config.init is not None:
            _check_start("init", Path(config.init), self.task["name"], options, self.transfer)

        def made(run: RunFolder, threads: int) -> Learned:
            return train_teacher(self.task["name"], run, replace(config, torch_threads=threads), **options)

        given = {"init": config.init}
        return self.learn(self.run, given, made)


@dataclass(frozen=True, kw_only=True)
class TrainResidual(Train, ResidualConfig):
    """Correct the policy `base` by reinforcement learning into `run`, then judge the best sum."""

    base: str | Path | None  # type: ignore[assignment]
    residual: Residual
    td3: TD3
    ppo: ResidualPPO

    def __call__(self) -> int:
        """The exit code."""
        from embodkd.policies.artefact import read_meta
        from embodkd.rl.residual.train import train_residual

        base = policy_folder(needed(self.base, "base", "embodkd train residual base=runs/diffusion_peg_assembly"))
        config = replace(self, base=base)
        name, options = self.task_of(read_meta(base))
        _check_start("base", base, name, options, self.transfer, lost=self.end_when_lost)

        def measure(run: Path, policy: Path) -> None:
            _measure_corrections(run, policy, self.evaluate_episodes)

        def made(folder: RunFolder, threads: int) -> Learned:
            return train_residual(name, folder, replace(config, torch_threads=threads), **options)

        return self.learn(self.run or f"runs/residual_{name}", {"base": base}, made, measure)


def _check_start(
    key: str, folder: Path, name: str, options: Mapping[str, Any], transfer: bool, lost: bool = False
) -> None:
    """ValueError, before any run folder is made, if the policy that a training starts from does not fit its task, or if
    that shall say when an episode is `lost` and cannot."""
    from embodkd.envs import make_task
    from embodkd.policies import check_task, load_policy

    policy, meta = load_policy(folder)
    with closing(make_task(name, 1, **options)) as world:
        check_task(policy, meta, world.spec, f"{key}={folder}", transfer)
        if lost:
            world.end_when_lost()


def _measure_corrections(run: Path, policy: Path, episodes: int) -> None:
    """Leave corrections.json where the task is an assembly, whose phases are known."""
    from embodkd.core.runs.files import write_json
    from embodkd.envs import make_task
    from embodkd.envs.tasks.assembly.task import Assembly
    from embodkd.evaluation.corrections import corrections
    from embodkd.evaluation.outcome import CORRECTIONS
    from embodkd.policies import ResidualPolicy, load_policy

    actor, meta = load_policy(policy)
    name, options = WorldChoice().task_of(meta)
    task = make_task(name, episodes, **options)
    try:
        if isinstance(task, Assembly) and isinstance(actor, ResidualPolicy):
            write_json(run / CORRECTIONS, corrections(actor, task))
    finally:
        task.close()

"""`embodkd record`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import WorldChoice, needed, policy_folder, run_folder, task_options, use_threads
from embodkd.cli.experts import EXPERT, expert_of
from embodkd.core.config.ranges import Copies, Count, Episodes, EpisodeSeed, NotNegative, Threads, Whole

if TYPE_CHECKING:
    from embodkd.envs import BatchTask
    from embodkd.evaluation.record import Attempts


@dataclass(frozen=True, kw_only=True)
class RecordEpisodes(WorldChoice):
    """Record episodes of an expert or a policy as a LeRobot dataset in the run folder."""

    policy: str
    run: str | None
    resume: bool
    episodes: Episodes
    seed: EpisodeSeed
    noise: NotNegative | None
    disturb: NotNegative
    groups: list[str] | None
    only_success: bool
    after: Whole
    looks: Count
    num_envs: Copies
    torch_threads: Threads
    quiet: bool

    def __call__(self) -> int:
        """The exit code."""
        from embodkd.core import RunFolder
        from embodkd.envs import make_task
        from embodkd.policies import check_task, load_policy

        use_threads(self.torch_threads)
        if self.policy == EXPERT:
            name = needed(self.task, "task", "embodkd record task=peg_assembly")["name"]
            options, label = task_options(self.task, self.engine, self.randomise), "expert"
        elif self.noise is not None:
            raise ValueError(f"noise={self.noise} is the scripted expert's; a policy acts as it is: leave the key out")
        else:
            actor, meta = load_policy(policy_folder(self.policy))
            name, options = self.task_of(meta)
            label = run_folder(self.policy).name
        run = self.run or f"runs/record_{label}_{name}"
        world = make_task(name, self.num_envs, **options)
        try:
            if self.policy == EXPERT:
                actor = expert_of(world, 1.0 if self.noise is None else self.noise)
            else:
                check_task(actor, meta, world.spec, f"policy={self.policy}", self.transfer)
            with RunFolder.open(run, {**asdict(self), "run": run}, self.resume) as folder:
                where, said = Path(run) / "demos", f"{self.episodes} episodes"
                # A dataset is whole or absent: one that is there was recorded to its end.
                if where.exists():
                    said = "recorded already; it stays as it is"
                else:
                    said += f"; {self._write(where, world, actor, str(options.get('robot', '')))}"
                folder.finish(minutes=folder.minutes)
        finally:
            world.close()
        print(f"{where}: {said}")
        return 0

    def _write(self, where: Path, world: BatchTask, actor: Any, robot: str) -> Attempts:
        from embodkd.data.lerobot import write_dataset
        from embodkd.evaluation.record import Attempts, record
        from embodkd.policies import task_record

        usual = [g for g in ("proprio", "privileged", "relations") if g in world.spec.groups]
        chosen = usual if self.groups is None else self.groups
        if not chosen:
            raise ValueError("groups: name at least one, or leave the key out for the vectors that the task has")
        facts = {group: world.spec.groups[group] for group in world.spec.check_groups(chosen)}
        attempts = Attempts()
        made = record(
            world,
            actor,
            self.episodes,
            chosen,
            seed=self.seed,
            only_success=self.only_success,
            after=self.after,
            disturb=self.disturb,
            attempts=attempts,
            looks=self.looks,
            quiet=self.quiet,
        )
        task = task_record(world.spec)
        write_dataset(where, made, facts, fps=world.spec.control_hz, task=task, robot_type=robot)
        return attempts

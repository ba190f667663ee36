"""`embodkd distill student teacher=...`: a student of a policy, in the simulated task that the policy was made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import is_classifier, needed, policy_folder, task_of, without_name
from embodkd.cli.groups import Engine, Randomise, Student, Task
from embodkd.cli.learn import Learn, Lesson
from embodkd.core.config.ranges import Copies, Judged, Positive, Whole
from embodkd.core.ranks import ranks

if TYPE_CHECKING:
    from embodkd.core import Context
    from embodkd.envs import BatchTask
    from embodkd.policies import Policy


@dataclass(frozen=True)
class Finetune:
    """PPO after the distillation: control steps of all copies, 0 for none; iterations of its critic alone."""

    steps: Whole
    learning_rate: Positive
    critic_warmup: Whole

    @property
    def ppo(self) -> dict[str, Any]:
        """Settings of PPOConfig."""
        return {"learning_rate": self.learning_rate, "init_std": 0.1, "critic_warmup": self.critic_warmup}


@dataclass(frozen=True, kw_only=True)
class DistillStudent(Learn):
    """Distil `teacher` into a new `student` by `method`, keep it in `run`/policy, judge it. Keys as in the config."""

    teacher: str | None
    num_envs: Copies
    finetune: Finetune
    episodes: Judged
    student: Student
    task: Task | None = None
    engine: Engine | None = None
    randomise: Randomise | None = None
    transfer: bool = False

    needs = "task"

    @contextmanager
    def lesson(self) -> Iterator[Lesson]:
        """The task with this rank's copies."""
        from embodkd.cli.evaluate import judge
        from embodkd.core import seed_everything
        from embodkd.envs import make_task
        from embodkd.evaluation.record import example
        from embodkd.policies import check_task, load_policy, make_policy, save_policy, task_record
        from embodkd.rl.config import PPOConfig

        if self.teacher is not None and is_classifier(self.teacher):
            raise ValueError(
                f"teacher={self.teacher} is a classifier: say which data its student learns from, data=..."
            )
        if self.finetune.steps:
            PPOConfig(**self.finetune.ppo).check_steps(self.finetune.steps, "finetune.critic_warmup")
        source = policy_folder(needed(self.teacher, "teacher", "embodkd distill student teacher=runs/teacher_peg_hole"))
        expert, meta = load_policy(source)
        name, options = task_of(meta, self.task, self.engine, self.randomise)
        world = make_task(name, ranks().split(self.num_envs, "num_envs"), **options)
        try:
            spec = world.spec
            apart = check_task(expert, meta, spec, f"teacher={self.teacher}", self.transfer)
            lineage: dict[str, Any] = {"teacher": {"policy": str(source), "lineage": meta["lineage"]}}
            if apart:
                lineage["teacher"]["transfer"] = list(apart)
            seed_everything(self.seed)
            student = make_policy(self.student["name"], spec.groups, spec.action_size, **without_name(self.student))
            then = (_ppo_step(student, world, name, options, self.finetune, self.quiet),) if self.finetune.steps else ()
            yield Lesson(
                student,
                expert,
                world,
                run=f"runs/{self.student['name']}_{name}",
                lineage=lineage,
                save=lambda model, run, lineage: save_policy(
                    run / "policy",
                    model,
                    task=task_record(spec),
                    lineage=lineage,
                    episode=example(model, name, options),
                ),
                judge=lambda run: (
                    judge(run / "policy", episodes=self.episodes, seed=0, quiet=self.quiet) if self.episodes else None
                ),
                given={"teacher": source},
                then=then,
            )
        finally:
            world.close()


def _ppo_step(
    student: Policy, world: BatchTask, name: str, options: Mapping[str, Any], finetune: Finetune, quiet: bool
) -> Any:
    """The recipe's last step: PPO goes on from the distilled student in the folder finetune/ of the run."""

    def step(context: Context) -> dict[str, float]:
        import torch

        from embodkd.core import RunFolder
        from embodkd.core.precision import default_type
        from embodkd.policies import load_policy, save_policy, task_record
        from embodkd.rl.config import TeacherConfig
        from embodkd.rl.train import train_teacher

        where = Path(needed(context.folder, "run", "embodkd distill student run=runs/student"))
        save_policy(where / "distilled", student, task=task_record(world.spec))
        with RunFolder.open(where / "finetune", asdict(finetune), resume=True) as folder:
            config = TeacherConfig(
                seed=context.seed,
                steps=finetune.steps,
                init=where / "distilled",
                ppo=finetune.ppo,
                quiet=quiet,
            )
            # PPO is done in float32 whatever the distillation before it was done in.
            with default_type(torch.float32):
                summary = train_teacher(name, folder, config, **options)
            folder.finish(minutes=summary.minutes)
        better, _ = load_policy(summary.policy)
        student.load_state_dict(better.state_dict())
        return {"finetune/success": summary.best_success}

    return step

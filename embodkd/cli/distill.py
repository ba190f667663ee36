"""`embodkd distill student`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import is_classifier, needed, policy_folder, task_of, use_threads, without_name
from embodkd.core.ranks import ranks

if TYPE_CHECKING:
    from embodkd.core import Context
    from embodkd.envs import BatchTask
    from embodkd.policies import Policy

Choice = Mapping[str, Any] | None


def distill_student(
    run: str | None,
    seed: int,
    resume: bool,
    teacher: str | None,
    num_envs: int,
    finetune: Mapping[str, Any],
    trainer: Mapping[str, Any],
    episodes: int,
    torch_threads: int,
    tracker: str | None,
    quiet: bool,
    student: Mapping[str, Any],
    method: Mapping[str, Any],
    task: Choice = None,
    engine: Choice = None,
    randomise: Choice = None,
) -> int:
    """Distil `teacher` into a new `student` by `method`, keep it in `run`/policy, judge it. Keys as in the config."""
    config = {name: value for name, value in locals().items()}

    from embodkd.cli.evaluate import judge
    from embodkd.core import RunFolder, distill, seed_everything
    from embodkd.envs import make_task
    from embodkd.methods import make_method
    from embodkd.policies import check_task, load_policy, make_policy, save_policy, task_record

    use_threads(torch_threads)
    if teacher is not None and is_classifier(teacher):
        raise ValueError(f"teacher={teacher} is a classifier: say which data its student learns from, data=...")
    source = policy_folder(needed(teacher, "teacher", "embodkd distill student teacher=runs/teacher_peg_hole"))
    expert, meta = load_policy(source)
    name, options = task_of(meta, task, engine, randomise)
    recipe = make_method(method, "task")
    if run is None:
        run = config["run"] = f"runs/{student['name']}_{name}"
    with RunFolder.open(run, config, resume, tracker) as folder:
        world = make_task(name, ranks().split(num_envs, "num_envs"), **options)
        try:
            check_task(expert, meta, world.spec, where=f"teacher={teacher}")
            seed_everything(seed)
            spec = world.spec
            learner = make_policy(student["name"], spec.groups, spec.action_size, **without_name(student))
            then = (_ppo_step(learner, world, name, options, finetune),) if finetune["steps"] else ()
            settings = {**trainer, "quiet": quiet}
            summary = distill(recipe, learner, expert, world, run=folder, seed=seed, trainer=settings, then=then)
            lineage = {
                "method": method["name"],
                "seed": seed,
                "teacher": {"policy": str(source), "lineage": meta["lineage"]},
            }
            target, record = folder.path / "policy", task_record(spec)
            ranks().first_does(lambda: save_policy(target, learner, task=record, lineage=lineage))
        finally:
            world.close()
        print(f"{run}: {summary.updates} updates in {summary.minutes:.1f} min")
        if episodes:
            print(f"{run}: {judge(folder.path / 'policy', episodes=episodes, seed=0, quiet=quiet)}")
        folder.finish(minutes=summary.minutes)
    return 0


def _ppo_step(
    student: Policy, world: BatchTask, name: str, options: Mapping[str, Any], finetune: Mapping[str, Any]
) -> Any:
    """The recipe's last step: PPO goes on from the distilled student in the folder finetune/ of the run."""

    def step(context: Context) -> dict[str, float]:
        from embodkd.core import RunFolder
        from embodkd.policies import load_policy, save_policy, task_record
        from embodkd.rl.config import TeacherConfig
        from embodkd.rl.train import train_teacher

        where = Path(needed(context.folder, "run", "embodkd distill student run=runs/student"))
        save_policy(where / "distilled", student, task=task_record(world.spec))
        with RunFolder.open(where / "finetune", dict(finetune), resume=True) as folder:
            config = TeacherConfig(
                seed=context.seed,
                steps=finetune["steps"],
                init=where / "distilled",
                ppo={"learning_rate": finetune["learning_rate"], "init_std": 0.1, "critic_warmup": 5},
            )
            summary = train_teacher(name, folder, config, **options)
            folder.finish(minutes=summary.minutes)
        better, _ = load_policy(summary.policy)
        student.load_state_dict(better.state_dict())
        return {"finetune/success": summary.best_success}

    return step

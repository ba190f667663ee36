"""`embodkd record`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.cli.common import needed, policy_folder, run_folder, task_of, task_options, use_threads

if TYPE_CHECKING:
    from embodkd.envs import BatchTask

Choice = Mapping[str, Any] | None


def record(
    policy: str,
    run: str | None,
    resume: bool,
    episodes: int,
    seed: int,
    noise: float | None,
    groups: list[str] | None,
    only_success: bool,
    after: int,
    num_envs: int,
    torch_threads: int,
    quiet: bool,
    task: Choice = None,
    engine: Choice = None,
    randomise: Choice = None,
) -> int:
    """Record episodes of an expert or a policy as a LeRobot dataset in the run folder. The keys are the config's."""
    config = dict(locals())

    from embodkd.core import RunFolder
    from embodkd.core.runs.files import remove_folder
    from embodkd.data.lerobot import write_dataset
    from embodkd.envs import make_task
    from embodkd.evaluation.record import record as recordings
    from embodkd.policies import check_task, load_policy, task_record

    use_threads(torch_threads)
    if policy == "expert":
        name = needed(task, "task", "embodkd record task=peg_assembly")["name"]
        options, label = task_options(task, engine, randomise), "expert"
    elif noise is not None:
        raise ValueError(f"noise={noise} is the scripted expert's; a policy acts as it is: leave the key out")
    else:
        actor, meta = load_policy(policy_folder(policy))
        name, options = task_of(meta, task, engine, randomise)
        label = run_folder(policy).name
    config["run"] = run = run or f"runs/record_{label}_{name}"
    with RunFolder.open(run, config, resume) as folder:
        world = make_task(name, num_envs, **options)
        try:
            if policy == "expert":
                actor = _expert(world, 1.0 if noise is None else noise)
            else:
                check_task(actor, meta, world.spec, where=f"policy={policy}")
            chosen = groups or [g for g in ("proprio", "privileged", "relations") if g in world.spec.groups]
            facts = {group: world.spec.groups[group] for group in world.spec.check_groups(chosen)}
            made = recordings(
                world, actor, episodes, chosen, seed=seed, only_success=only_success, after=after, quiet=quiet
            )
            if resume and (Path(run) / "demos").exists():
                remove_folder(Path(run) / "demos")
            where = write_dataset(
                Path(run) / "demos",
                made,
                facts,
                fps=world.spec.control_hz,
                task=task_record(world.spec),
                robot_type=str(options.get("robot", "")),
            )
        finally:
            world.close()
        folder.finish(minutes=folder.minutes)
    print(f"{where}: {episodes} episodes")
    return 0


def _expert(world: BatchTask, noise: float) -> Any:
    from embodkd.envs.tasks.assembly.expert import Expert
    from embodkd.envs.tasks.assembly.task import Assembly

    if not isinstance(world, Assembly):
        raise ValueError(f"task {world.spec.name!r} has no scripted expert: say whose episodes, policy=runs/...")
    return Expert(world, noise=noise)

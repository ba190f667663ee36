"""`embodkd train residual`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.cli.common import needed, policy_folder, task_of, use_threads

Choice = Mapping[str, Any] | None


def train_residual(
    run: str | None,
    seed: int,
    resume: bool,
    base: str | None,
    steps: int,
    target: float | None,
    residual: Mapping[str, Any],
    learner: str,
    ppo: Mapping[str, Any],
    td3: Mapping[str, Any],
    evaluate_every: int,
    evaluate_episodes: int,
    checkpoint_every: int,
    episodes: int,
    torch_threads: int,
    tracker: str | None,
    quiet: bool,
    task: Choice = None,
    engine: Choice = None,
    randomise: Choice = None,
) -> int:
    """Correct the policy `base` by reinforcement learning into `run`, then judge the best sum; keys as the config's."""
    config = {name: value for name, value in locals().items()}

    from embodkd.core.run import RunFolder
    from embodkd.policies.artefact import read_meta
    from embodkd.rl.train_residual import train_residual as train

    use_threads(torch_threads)
    source = policy_folder(needed(base, "base", "embodkd train residual base=runs/diffusion_peg_assembly"))
    name, options = task_of(read_meta(source), task, engine, randomise)
    config["run"] = run = run or f"runs/residual_{name}"
    with RunFolder.open(run, config, resume, tracker) as folder:
        summary = train(
            name,
            folder,
            base=source,
            seed=seed,
            total_steps=steps,
            engine=options.pop("engine"),
            threads=options.pop("threads", 0),
            options=options,
            residual=residual,
            learner=learner,
            ppo=ppo,
            td3=td3,
            evaluate_every=evaluate_every,
            evaluate_episodes=evaluate_episodes,
            target=target,
            checkpoint_every=checkpoint_every,
            torch_threads=torch_threads,
            quiet=quiet,
        )
        print(f"{run}: {summary.steps} steps in {summary.minutes:.1f} min")
        if episodes:
            from embodkd.cli.evaluate import judge

            print(f"{run}: {judge(summary.policy, episodes=episodes, seed=0, quiet=quiet)}")
            _measure_corrections(folder.path, summary.policy, evaluate_episodes)
        folder.finish(minutes=summary.minutes)
    return 0


def _measure_corrections(run: Path, policy: Path, episodes: int) -> None:
    """Leave corrections.json where the task is an assembly, whose phases are known."""
    from embodkd.core.files import write_json
    from embodkd.envs import make_task
    from embodkd.envs.tasks.assembly.task import Assembly
    from embodkd.evaluation.corrections import corrections
    from embodkd.evaluation.outcome import CORRECTIONS
    from embodkd.policies import ResidualPolicy, load_policy

    actor, meta = load_policy(policy)
    name, options = task_of(meta, None, None, None)
    task = make_task(name, episodes, **options)
    try:
        if isinstance(task, Assembly) and isinstance(actor, ResidualPolicy):
            write_json(run / CORRECTIONS, corrections(actor, task))
    finally:
        task.close()

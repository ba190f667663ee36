"""`embodkd train teacher`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embodkd.cli.common import policy_folder, task_options, use_threads


def train_teacher(
    run: str,
    seed: int,
    resume: bool,
    steps: int,
    target: float | None,
    init: str | None,
    network: Mapping[str, Any],
    critic: list[str],
    evaluate_every: int,
    evaluate_episodes: int,
    checkpoint_every: int,
    episodes: int,
    torch_threads: int,
    tracker: str | None,
    quiet: bool,
    task: Mapping[str, Any],
    engine: Mapping[str, Any],
    randomise: Mapping[str, Any],
    ppo: Mapping[str, Any],
) -> int:
    """Train by PPO into the folder `run`, then judge the best policy on fresh episodes. The keys are the config's."""
    config = {name: value for name, value in locals().items()}

    from embodkd.core.run import RunFolder
    from embodkd.rl.train import train_teacher as train

    use_threads(torch_threads)
    options = task_options(task, engine, randomise)
    with RunFolder.open(run, config, resume, tracker) as folder:
        summary = train(
            task["name"],
            folder,
            seed=seed,
            total_steps=steps,
            engine=options.pop("engine"),
            threads=options.pop("threads"),
            options=options,
            policy_options=network,
            critic_groups=critic,
            init=None if init is None else policy_folder(init),
            ppo={k: v for k, v in ppo.items() if k != "steps"},
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
        folder.finish(minutes=summary.minutes)
    return 0

"""Train a teacher (or improve a student) by PPO in a run folder: evaluated, best and last kept, resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from embodkd.core.rng import seed_everything
from embodkd.core.run import RunFolder
from embodkd.core.schema import build
from embodkd.envs import TaskSpec, make_task
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.policies import Policy, check_task, load_policy, make_policy, save_policy, task_record
from embodkd.rl.checkpoint import restore
from embodkd.rl.config import PPOConfig
from embodkd.rl.loop import Progress, Summary, fit
from embodkd.rl.ppo import PPO

TRAINING_SEED = 2_000_000_011


def train_teacher(
    task: str,
    run: RunFolder,
    *,
    seed: int = 0,
    total_steps: int = 160_000,
    engine: str = "mujoco",
    options: Mapping[str, Any] | None = None,
    policy: str = "mlp",
    policy_options: Mapping[str, Any] | None = None,
    critic_groups: Sequence[str] = ("proprio", "privileged"),
    init: str | Path | None = None,
    ppo: Mapping[str, Any] | None = None,
    evaluate_every: int = 32_768,
    evaluate_episodes: int = 64,
    target: float | None = None,
    checkpoint_every: int = 65_536,
    threads: int = 0,
    torch_threads: int = 1,
    quiet: bool = False,
) -> Summary:
    """Train `policy` on `task` for about `total_steps` control steps (all copies counted) and return a summary.

    init: a policy folder to start from instead of a new `policy`; its observation statistics stay as they are.
    ppo: settings of PPOConfig. target: stop when two evaluations in a row reach this success share.
    Leaves `policy/` (best success on the fixed episodes, then best return) and `policy_last/` in the run folder. A
    run that was killed goes on from its last checkpoint and ends in the same bits. ValueError for wrong settings or an
    `init` that does not fit the task.
    """
    config = build(PPOConfig, ppo, "ppo")
    torch.set_num_threads(torch_threads)
    seed_everything(seed)
    world = make_task(task, config.num_envs, engine=engine, threads=threads, **dict(options or {}))
    judge = make_task(task, evaluate_episodes, engine=engine, threads=threads, **dict(options or {}))
    try:
        actor, lineage = _actor(world.spec, policy, policy_options, init)
        lineage = {"method": "ppo", "seed": seed, **lineage}
        groups = world.spec.check_groups(tuple(dict.fromkeys((*actor.reads, *critic_groups))))
        env = TaskVecEnv(world, groups, seed)
        learner = PPO(env, actor, tuple(critic_groups), config, seed)
        # after stable-baselines3 has given the environments its own seed
        env.seed(TRAINING_SEED + seed * config.num_envs)
        record = restore(run, learner, Progress)

        def keep(folder: str, success: float) -> None:
            facts = {"steps": learner.num_timesteps, "training_success": success, "ppo": asdict(config)}
            save_policy(run.path / folder, actor, task=task_record(world.spec), lineage=lineage, extra=facts)

        return fit(
            learner,
            actor,
            judge,
            run,
            record,
            keep,
            label=f"teacher {task}",
            total_steps=total_steps,
            evaluate_every=evaluate_every,
            target=target,
            checkpoint_every=checkpoint_every,
            quiet=quiet,
        )
    finally:
        world.close()
        judge.close()


def _actor(
    spec: TaskSpec, name: str, options: Mapping[str, Any] | None, init: str | Path | None
) -> tuple[Policy, dict[str, Any]]:
    if init is None:
        return make_policy(name, spec.groups, spec.action_size, **dict(options or {})), {}
    policy, meta = load_policy(init)
    check_task(policy, meta, spec, where=f"init={init}")
    policy.normaliser.freeze()
    return policy, {"init": {"policy": str(init), "lineage": meta["lineage"]}}

"""Train a residual policy on a frozen base in a run folder: evaluated, best and last kept, resumable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from embodkd.core.rng import seed_everything
from embodkd.core.run import RunFolder
from embodkd.core.schema import build
from embodkd.envs import BatchTask, TaskSpec, make_task
from embodkd.policies import ChunkPolicy, ResidualPolicy, check_task, load_policy, residual_on, save_policy, task_record
from embodkd.rl.checkpoint import restore
from embodkd.rl.loop import Progress, Summary, evaluate, fit
from embodkd.rl.residual_config import ResidualConfig
from embodkd.rl.residual_env import ResidualEnv
from embodkd.rl.residual_ppo import ResidualPPO
from embodkd.rl.residual_stream import ResidualStream
from embodkd.rl.residual_td3 import ResidualTD3, TD3Config
from embodkd.rl.train import TRAINING_SEED

LEARNERS = ("td3", "ppo")


def train_residual(
    task: str,
    run: RunFolder,
    *,
    base: str | Path,
    seed: int = 0,
    total_steps: int = 400_000,
    engine: str = "mujoco",
    options: Mapping[str, Any] | None = None,
    residual: Mapping[str, Any] | None = None,
    learner: str = "td3",
    ppo: Mapping[str, Any] | None = None,
    td3: Mapping[str, Any] | None = None,
    evaluate_every: int = 64_000,
    evaluate_episodes: int = 64,
    target: float | None = None,
    checkpoint_every: int = 64_000,
    threads: int = 0,
    torch_threads: int = 1,
    quiet: bool = False,
) -> Summary:
    """Correct the policy in the folder `base` on `task` for about `total_steps` control steps (all copies counted).

    residual: settings of ResidualPolicy (alpha, every, hidden, sees_base). learner: "td3" with settings of TD3Config,
    or ResiP's "ppo", which throws its steps away, with those of ResidualConfig. The sum is judged before the
    first iteration, where it equals the base, and then every `evaluate_every` steps; target: stop when two evaluations
    in a row reach this success share. Leaves `policy/` (best success on the fixed episodes, then best return) and
    `policy_last/` in the run folder: base and residual in one. A run that was killed goes on from its last checkpoint
    and ends in the same bits. ValueError for wrong settings or a `base` that does not fit the task.
    """
    if learner not in LEARNERS:
        raise ValueError(f"learner is {learner!r}; choose one of {', '.join(LEARNERS)}")
    config = build(ResidualConfig, ppo, "ppo") if learner == "ppo" else build(TD3Config, td3, "td3")
    torch.set_num_threads(torch_threads)
    seed_everything(seed)
    world = make_task(task, config.num_envs, engine=engine, threads=threads, **dict(options or {}))
    judge = make_task(task, evaluate_episodes, engine=engine, threads=threads, **dict(options or {}))
    try:
        actor, origin = _on_base(base, world.spec, residual, bounded=learner == "td3")
        lineage = {"method": "resip", "learner": learner, "seed": seed, "base": origin}
        learning: ResidualPPO | ResidualTD3
        if isinstance(config, ResidualConfig):
            learning, total_steps = _on_policy(world, actor, config, total_steps, seed)
        else:
            learning, total_steps = _off_policy(world, actor, config, total_steps, seed)
        record = restore(run, learning, Progress)

        def keep(folder: str, success: float) -> None:
            facts = {"steps": learning.num_timesteps, "training_success": success, learner: asdict(config)}
            save_policy(run.path / folder, actor, task=task_record(world.spec), lineage=lineage, extra=facts)

        if learning.num_timesteps == 0:
            run.log(0, **evaluate(actor, judge, record, target, keep))
        return fit(
            learning,
            actor,
            judge,
            run,
            record,
            keep,
            label=f"residual {task}",
            total_steps=total_steps,
            evaluate_every=evaluate_every,
            target=target,
            checkpoint_every=checkpoint_every,
            quiet=quiet,
        )
    finally:
        world.close()
        judge.close()


def _on_policy(
    world: BatchTask, actor: ResidualPolicy, config: ResidualConfig, total_steps: int, seed: int
) -> tuple[ResidualPPO, int]:
    """The learner, and the steps of the whole iterations that it will make."""
    env = ResidualEnv(world, actor, seed=seed, gamma=config.gamma, hold=config.mask, look_at_end=config.bootstrap)
    iteration = config.num_envs * world.spec.max_steps
    iterations = max(1, total_steps // iteration)
    return ResidualPPO(env, config, iterations, seed), iterations * iteration


def _off_policy(
    world: BatchTask, actor: ResidualPolicy, config: TD3Config, total_steps: int, seed: int
) -> tuple[ResidualTD3, int]:
    env = ResidualStream(world, actor)
    learner = ResidualTD3(env, config, total_steps, seed)
    # after stable-baselines3 has given the environments its own seed
    env.seed(TRAINING_SEED + seed * config.num_envs)
    return learner, total_steps


def _on_base(
    folder: str | Path, spec: TaskSpec, options: Mapping[str, Any] | None, bounded: bool
) -> tuple[ResidualPolicy, dict[str, Any]]:
    base, meta = load_policy(folder)
    check_task(base, meta, spec, where=f"base={folder}")
    if not isinstance(base, ChunkPolicy):
        raise ValueError(
            f"base={folder}: a {meta['policy']} predicts no chunks of actions; make one from demonstrations with "
            "student=diffusion or student=mlp_chunk"
        )
    actor = residual_on(base, **dict(options or {}), bounded=bounded)
    return actor, {"policy": str(folder), "lineage": meta["lineage"]}

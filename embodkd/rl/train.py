"""Train a teacher (or improve a student) by PPO in a run folder: evaluated, best and last kept, resumable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embodkd.core.progress import progress
from embodkd.core.rng import seed_everything
from embodkd.core.run import RunFolder
from embodkd.core.schema import build
from embodkd.envs import BatchTask, TaskSpec, make_task
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.policies import Policy, check_task, load_policy, make_policy, save_policy, task_record
from embodkd.rl.checkpoint import restore, save
from embodkd.rl.config import PPOConfig
from embodkd.rl.ppo import PPO

# Far from the small seeds that final evaluations use: nothing is judged on an episode that was learned from.
EVALUATION_SEED = 1_000_000_007
TRAINING_SEED = 2_000_000_011


@dataclass(frozen=True)
class Summary:
    """How a training ended. Successes are shares of the fixed evaluation episodes; minutes as in RunFolder."""

    steps: int
    success: float
    best_success: float
    stopped_early: bool
    minutes: float
    policy: Path


@dataclass
class Progress:
    """What the training loop remembers between evaluations; part of every checkpoint."""

    evaluations: int = 0
    success: float = 0.0
    best_success: float = -1.0
    best_return: float = -np.inf
    hits: int = 0
    next_checkpoint: int = 0


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

        stopped = _is_reached(record, target)
        steps = learner.n_steps * learner.n_envs
        with progress(total_steps, f"teacher {task}", done=learner.num_timesteps, quiet=quiet) as bar:
            while learner.num_timesteps < total_steps and not stopped:
                before = learner.num_timesteps
                # None: stable-baselines3 shall not print; its annotation forgets that it accepts it.
                learner.learn(steps, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
                scalars = dict(learner.logger.name_to_value)
                learner.logger.dump()
                over = learner.num_timesteps >= total_steps
                if learner.num_timesteps // evaluate_every > record.evaluations or over:
                    record.evaluations = learner.num_timesteps // evaluate_every
                    scalars |= _evaluate(actor, judge, record, target, keep)
                    stopped = _is_reached(record, target)
                run.log(learner.num_timesteps, **scalars)
                if learner.num_timesteps >= record.next_checkpoint or over or stopped:
                    record.next_checkpoint = learner.num_timesteps + checkpoint_every
                    save(run, learner, record)
                shown = {"reward": scalars.get("rollout/ep_rew_mean"), "success": record.success}
                bar.advance(
                    learner.num_timesteps - before, **{name: float(v) for name, v in shown.items() if v is not None}
                )
        keep("policy_last", record.success)
    finally:
        world.close()
        judge.close()
    return Summary(
        learner.num_timesteps, record.success, record.best_success, stopped, run.minutes, run.path / "policy"
    )


def success_and_return(policy: Policy, task: BatchTask, seed: int = EVALUATION_SEED) -> tuple[float, float]:
    """Success share and mean return of one deterministic episode per copy of `task`, on seeds seed + i."""
    task.reset(np.arange(task.num_envs, dtype=np.int64) + seed)
    running_N = np.ones(task.num_envs, bool)
    success_N = np.zeros(task.num_envs, bool)
    return_N = np.zeros(task.num_envs)
    for _ in range(task.spec.max_steps):
        step = task.step(policy.act(task.observe(policy.reads)))
        return_N += step.reward * running_N
        ended_N = running_N & (step.terminated | step.truncated)
        success_N[ended_N] = step.info["is_success"][ended_N]
        running_N &= ~ended_N
        if not running_N.any():
            break
    return float(success_N.mean()), float(return_N.mean())


def _evaluate(actor: Policy, judge: BatchTask, record: Progress, target: float | None, keep: Any) -> dict[str, float]:
    success, mean_return = success_and_return(actor, judge)
    record.success = success
    record.hits = record.hits + 1 if target is not None and success >= target else 0
    if (success, mean_return) > (record.best_success, record.best_return):
        record.best_success, record.best_return = success, mean_return
        keep("policy", success)
    return {"evaluation/success": success, "evaluation/return": mean_return}


def _is_reached(record: Progress, target: float | None) -> bool:
    return target is not None and record.hits >= 2


def _actor(
    spec: TaskSpec, name: str, options: Mapping[str, Any] | None, init: str | Path | None
) -> tuple[Policy, dict[str, Any]]:
    if init is None:
        return make_policy(name, spec.groups, spec.action_size, **dict(options or {})), {}
    policy, meta = load_policy(init)
    check_task(policy, meta, spec, where=f"init={init}")
    policy.normaliser.freeze()
    return policy, {"init": {"policy": str(init), "lineage": meta["lineage"]}}

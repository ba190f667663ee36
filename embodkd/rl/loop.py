"""Reinforcement learning in a run folder: learn, judge, keep the best and the last, put down checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embodkd.core.progress import progress
from embodkd.core.run import RunFolder
from embodkd.envs import BatchTask
from embodkd.policies import Policy, session_of
from embodkd.rl.checkpoint import save

if TYPE_CHECKING:
    from embodkd.rl.ppo import PPO
    from embodkd.rl.residual_ppo import ResidualPPO
    from embodkd.rl.residual_td3 import ResidualTD3

# Far from the small seeds that final evaluations use: nothing is judged on an episode that was learned from.
EVALUATION_SEED = 1_000_000_007
# (folder in the run, success share): write the actor there.
Keep = Callable[[str, float], None]


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


def fit(
    learner: PPO | ResidualPPO | ResidualTD3,
    actor: Policy,
    judge: BatchTask,
    run: RunFolder,
    record: Progress,
    keep: Keep,
    *,
    label: str,
    total_steps: int,
    evaluate_every: int,
    target: float | None,
    checkpoint_every: int,
    quiet: bool,
) -> Summary:
    """Learn until `total_steps` control steps, or until two evaluations in a row reach `target`.

    Leaves `policy/` (best success on the fixed episodes, then best return) and `policy_last/` in the run folder.
    """
    stopped = _is_reached(record, target)
    with progress(total_steps, label, done=learner.num_timesteps, quiet=quiet) as bar:
        while learner.num_timesteps < total_steps and not stopped:
            before = learner.num_timesteps
            # One iteration. None: stable-baselines3 shall not print; its annotation forgets that it accepts it.
            learner.learn(1, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
            scalars = dict(learner.logger.name_to_value)
            learner.logger.dump()
            over = learner.num_timesteps >= total_steps
            if learner.num_timesteps // evaluate_every > record.evaluations or over:
                record.evaluations = learner.num_timesteps // evaluate_every
                scalars |= evaluate(actor, judge, record, target, keep)
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
    return Summary(
        learner.num_timesteps, record.success, record.best_success, stopped, run.minutes, run.path / "policy"
    )


def evaluate(actor: Policy, judge: BatchTask, record: Progress, target: float | None, keep: Keep) -> dict[str, float]:
    """Judge the actor on the fixed episodes and keep it if it is the best so far; returns what to log."""
    success, mean_return = success_and_return(actor, judge)
    record.success = success
    record.hits = record.hits + 1 if target is not None and success >= target else 0
    if (success, mean_return) > (record.best_success, record.best_return):
        record.best_success, record.best_return = success, mean_return
        keep("policy", success)
    return {"evaluation/success": success, "evaluation/return": mean_return}


def success_and_return(policy: Policy, task: BatchTask, seed: int = EVALUATION_SEED) -> tuple[float, float]:
    """Success share and mean return of one deterministic episode per copy of `task`, on seeds seed + i."""
    count = task.num_envs
    task.reset(np.arange(count, dtype=np.int64) + seed)
    session = session_of(policy, count)
    running_N = np.ones(count, bool)
    success_N = np.zeros(count, bool)
    return_N = np.zeros(count)
    action_NA = np.zeros((count, task.spec.action_size), np.float32)
    for _ in range(task.spec.max_steps):
        ids = np.flatnonzero(running_N)
        action_NA[ids] = session.act(task.observe(policy.reads, ids), ids)
        step = task.step(action_NA)
        return_N += step.reward * running_N
        ended_N = running_N & (step.terminated | step.truncated)
        success_N[ended_N] = step.info["is_success"][ended_N]
        running_N &= ~ended_N
        if not running_N.any():
            break
    return float(success_N.mean()), float(return_N.mean())


def _is_reached(record: Progress, target: float | None) -> bool:
    return target is not None and record.hits >= 2

"""Reinforcement learning in a run folder: learn, judge, keep the best and the last, put down checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embodkd.core import RunFolder, seed_everything
from embodkd.core.ranks import ranks
from embodkd.core.runs.progress import progress
from embodkd.core.runs.stopping import stoppable
from embodkd.envs import BatchTask, make_task
from embodkd.envs.episodes import episode_steps
from embodkd.envs.seeds import LEARNING_JUDGE
from embodkd.policies import Policy, save_policy, session_of, task_record
from embodkd.rl.checkpoint import resume, save
from embodkd.rl.config import LoopConfig
from embodkd.rl.shared import Copies

if TYPE_CHECKING:
    from embodkd.rl.ppo import PPO
    from embodkd.rl.residual.ppo import ResidualPPO
    from embodkd.rl.residual.td3 import ResidualTD3


@dataclass(frozen=True)
class Learned:
    """How a training ended. Successes are shares of the fixed evaluation episodes; minutes as in RunFolder."""

    steps: int
    success: float
    best_success: float
    stopped_early: bool
    minutes: float
    policy: Path


@dataclass
class Standing:
    """What the loop remembers between evaluations; part of every checkpoint."""

    evaluations: int = 0
    success: float = 0.0
    best_success: float = -1.0
    best_return: float = -np.inf
    hits: int = 0
    next_checkpoint: int = 0


@contextmanager
def worlds(
    task: str, copies: int, config: LoopConfig, options: Mapping[str, Any]
) -> Iterator[tuple[BatchTask, BatchTask]]:
    """The task to learn in and the one to be judged in, built from `options` of make_task, all else seeded.

    copies: this rank's; of the episodes to be judged by each has its share, too.
    """
    torch.set_num_threads(config.torch_threads)
    seed_everything(config.seed)
    with (
        closing(make_task(task, copies, **options)) as world,
        closing(make_task(task, ranks().split(config.evaluate_episodes, "evaluate_episodes"), **options)) as judge,
    ):
        yield world, judge


class Loop:
    """One training: `learner` improves `actor`, which is judged in `judge` and kept in `run`.

    Goes on from the run's last checkpoint, if there is one. lineage, facts: what a kept policy says of its making.
    """

    def __init__(
        self,
        learner: PPO | ResidualPPO | ResidualTD3,
        actor: Policy,
        judge: BatchTask,
        run: RunFolder,
        config: LoopConfig,
        lineage: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:
        self.learner, self.actor, self.judge, self.run, self.config = learner, actor, judge, run, config
        self.lineage, self.facts = lineage, facts
        self._seen: dict[str, np.ndarray] = {}
        self.standing = resume(run, learner, Standing)

    def learn(self, label: str) -> Learned:
        """Until `config.steps` control steps, or until two evaluations in a row reach `config.target`.

        SIGINT and SIGTERM end it with `Stopped` after the iteration at hand, whose checkpoint is written.
        Leaves `policy/` (best success on the fixed episodes, then best return) and `policy_last/` in the run folder.
        """
        learner, config, standing = self.learner, self.config, self.standing
        # Of several ranks none may leave before the others know.
        wanted = ranks().size == 1
        shown = progress(config.steps, label, done=learner.num_timesteps, quiet=config.quiet)
        with stoppable(wanted) as stop, shown as bar:
            while learner.num_timesteps < config.steps and not self._is_there:
                before = learner.num_timesteps
                # One iteration. None: stable-baselines3 shall not print; its annotation forgets that it accepts it.
                learner.learn(1, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
                scalars = dict(learner.logger.name_to_value)
                learner.logger.dump()
                over = learner.num_timesteps >= config.steps
                if learner.num_timesteps // config.evaluate_every > standing.evaluations or over:
                    standing.evaluations = learner.num_timesteps // config.evaluate_every
                    scalars |= self.look()
                self.run.log(learner.num_timesteps, **scalars)
                due = learner.num_timesteps >= standing.next_checkpoint or over or self._is_there
                if due or stop.asked:
                    standing.next_checkpoint = learner.num_timesteps + config.checkpoint_every
                    save(self.run, learner, standing)
                if stop.asked:
                    stop.leave(f"{self.run.path}, step {learner.num_timesteps}")
                told = {"reward": scalars.get("rollout/ep_rew_mean"), "success": standing.success}
                bar.advance(
                    learner.num_timesteps - before, **{name: float(v) for name, v in told.items() if v is not None}
                )
        self._keep("policy_last")
        return Learned(
            steps=learner.num_timesteps,
            success=standing.success,
            best_success=standing.best_success,
            stopped_early=self._is_there,
            minutes=self.run.minutes,
            policy=self.run.path / "policy",
        )

    def look(self) -> dict[str, float]:
        """Judge the actor on the fixed episodes and keep it if it is the best so far; returns what to log."""
        standing, target = self.standing, self.config.target
        success, mean_return = self._judged()
        standing.success = success
        standing.hits = standing.hits + 1 if target is not None and success >= target else 0
        if (success, mean_return) > (standing.best_success, standing.best_return):
            standing.best_success, standing.best_return = success, mean_return
            self._keep("policy")
        return {"evaluation/success": success, "evaluation/return": mean_return}

    @property
    def _is_there(self) -> bool:
        return self.config.target is not None and self.standing.hits >= 2

    def _judged(self) -> tuple[float, float]:
        """Success share and mean return on the fixed episodes, of which the first is remembered as it was seen."""
        steps: list[dict[str, np.ndarray]] = []
        found = success_and_return(self.actor, self.judge, seen=steps)
        self._seen = {name: np.stack([obs[name] for obs in steps]) for name in self.actor.reads}
        return found

    def _keep(self, folder: str) -> None:
        if not self._seen:
            # A run that was killed after its last evaluation.
            self._judged()
        facts = {"steps": self.learner.num_timesteps, "training_success": self.standing.success, **self.facts}
        task = task_record(self.judge.spec)
        where = self.run.path / folder
        ranks().first_does(
            lambda: save_policy(where, self.actor, task=task, lineage=self.lineage, extra=facts, episode=self._seen)
        )


def success_and_return(
    policy: Policy, task: BatchTask, seed: int = LEARNING_JUDGE, seen: list[dict[str, np.ndarray]] | None = None
) -> tuple[float, float]:
    """Success share and mean return of one deterministic episode per copy of `task`, on seeds seed + i.

    Of several ranks each has its own copies, and all are judged. seen: gets what is observed before each step of the
    first episode, group -> (*shape).
    """
    count, first = task.num_envs, Copies.of(task.num_envs).first
    success_N, return_N = np.zeros(count, bool), np.zeros(count)
    seeds = np.arange(count, dtype=np.int64) + seed + first
    for now in episode_steps(task, session_of(policy, count), policy.reads, seeds):
        return_N[now.ids] += now.step.reward[now.ids]
        if seen is not None and now.episode[0] == 0:
            seen.append({name: values[0].copy() for name, values in now.obs.items()})
        over = now.ids[now.over]
        success_N[over] = now.step.info["is_success"][over]
    success_N, return_N = (np.concatenate(ranks().gather(rows_N)) for rows_N in (success_N, return_N))
    return float(success_N.mean()), float(return_N.mean())

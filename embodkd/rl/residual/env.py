"""A task with a frozen policy in it: an action is a correction of what that policy does next."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from embodkd.envs import BatchTask
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.policies import ResidualPolicy
from embodkd.rl.residual.config import ResidualPPOConfig

SEEN = "seen"
# stable-baselines3 asks for finite bounds; a correction has none.
_UNBOUNDED = 1e6


class ResidualEnv(TaskVecEnv):
    """What PPO acts in: it sees `policy.seen` and chooses the correction of the base's next `policy.every` actions.

    `reset` starts all copies together; an episode is `decisions` steps in each of them, and one that is over before
    stays done. Nothing resets by itself. config.mask: such a copy keeps its last action and is not looked at any more,
    so the base has nothing to do there. config.bootstrap: also observe the state after the last step. Rewards within
    one decision are added up, discounted by config.gamma per control step.
    """

    def __init__(self, task: BatchTask, policy: ResidualPolicy, config: ResidualPPOConfig, seed: int = 0) -> None:
        super().__init__(task, policy.reads)
        self.task, self.policy, self.config = task, policy, config
        self.first_seed, self.episode = seed, 0
        self.decisions = -(-task.spec.max_steps // policy.every)
        self.observation_space = spaces.Dict({SEEN: spaces.Box(-np.inf, np.inf, (policy.seen_size,), np.float32)})
        self.action_space = spaces.Box(-_UNBOUNDED, _UNBOUNDED, (policy.outputs,), np.float32)
        self._session = policy.session(task.num_envs)
        self._everyone = np.arange(task.num_envs)
        self._steps = 0
        self.done_N = np.zeros(task.num_envs, bool)
        self.success_N = np.zeros(task.num_envs, bool)
        self._base_NEA = np.zeros((task.num_envs, policy.every, task.spec.action_size), np.float32)
        self._seen_NS = np.zeros((task.num_envs, policy.seen_size), np.float32)
        self._action_NEA = np.zeros_like(self._base_NEA)

    def reset(self) -> VecEnvObs:
        """Start all copies together, on seeds that follow from the own one and the number of resets before."""
        # Far from the small seeds of evaluations.
        generator = np.random.default_rng([self.first_seed, self.episode])
        self.task.reset(generator.integers(2**32, 2**62, self.num_envs, dtype=np.int64))
        self.episode += 1
        self._steps = 0
        self.done_N[:] = False
        self.success_N[:] = False
        self._session.begin()
        self._look(self._everyone)
        return {SEEN: self._seen_NS.copy()}

    def step_wait(self) -> VecEnvStepReturn:
        """Up to `every` control steps of every copy with the corrections given to `step_async` (N, every * A)."""
        task, policy = self.task, self.policy
        left = task.spec.max_steps - self._steps
        if left < 1:
            raise ValueError(f"{task.spec.name}: step after the time limit of all copies; call reset first")
        running = np.flatnonzero(~self.done_N) if self.config.mask else self._everyone
        with torch.no_grad():
            base_NEA = torch.from_numpy(self._base_NEA[running])
            correction_NF = torch.from_numpy(np.asarray(self._actions[running], np.float32))
            self._action_NEA[running] = policy.clipped(policy.corrected(base_NEA, correction_NF)).numpy()
        reward_N = np.zeros(self.num_envs, np.float32)
        for k in range(min(policy.every, left)):
            step = task.step(self._action_NEA[:, k])
            reward_N += self.config.gamma**k * step.reward * ~self.done_N
            self.done_N |= step.terminated
            self.success_N |= step.info["is_success"] & (step.terminated | step.truncated)
            self._steps += 1
        # A copy that is done holds the pose of its last action.
        self._action_NEA[self.done_N] = self._action_NEA[self.done_N, k][:, None]
        over = self._steps >= task.spec.max_steps
        if not over or self.config.bootstrap:
            self._look(np.flatnonzero(~self.done_N) if self.config.mask else self._everyone)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        return {SEEN: self._seen_NS.copy()}, reward_N, self.done_N | over, infos

    def _look(self, ids: np.ndarray) -> None:
        """Observe these copies, and ask the base what it does next there."""
        if not ids.size:
            return
        obs = self.task.observe(self.policy.reads, ids)
        self._base_NEA[ids] = self._session.next_base(obs, ids)
        with torch.no_grad():
            base_NEA = torch.from_numpy(self._base_NEA[ids])
            self._seen_NS[ids] = self.policy.seen(self.policy.tensors(obs), base_NEA).numpy()

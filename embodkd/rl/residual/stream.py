"""A task with a frozen policy in it as an endless stream of episodes, for learners that need no whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from embodkd.envs import BatchTask
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.envs.state import below, under
from embodkd.policies import ResidualPolicy


class ResidualStream(TaskVecEnv):
    """Actions are corrections in -1..1 of the base's next action; seen is `policy.seen`, float32 (N, S).

    Copies whose episode ended go on with their next one, the base's plan there forgotten.
    """

    def __init__(self, task: BatchTask, policy: ResidualPolicy, seed: int = 0) -> None:
        if policy.every != 1:
            raise ValueError(
                f"residual.every is {policy.every}: this learner corrects each action by itself; "
                "choose every=1 or learner=ppo"
            )
        super().__init__(task, policy.reads, seed)
        self.policy = policy
        self.observation_space = spaces.Box(-np.inf, np.inf, (policy.seen_size,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (policy.outputs,), np.float32)
        self._session = policy.session(task.num_envs)
        self._base_NEA = np.zeros((task.num_envs, 1, task.spec.action_size), np.float32)

    def reset(self) -> VecEnvObs:
        """Start every copy afresh."""
        obs = super().reset()
        assert isinstance(obs, dict)
        self._session.begin()
        return self._look(obs, np.arange(self.num_envs))

    def step_wait(self) -> VecEnvStepReturn:
        """One control step of every copy with the corrections given to `step_async` (N, A)."""
        with torch.no_grad():
            correction_NF = torch.from_numpy(np.asarray(self._actions, np.float32))
            action_NEA = self.policy.corrected(torch.from_numpy(self._base_NEA), correction_NF)
        self._actions = self.policy.clipped(action_NEA[:, 0]).numpy()
        obs, reward_N, done_N, infos = super().step_wait()
        assert isinstance(obs, dict)
        ended = np.flatnonzero(done_N)
        if ended.size:
            # what the base would have done next belongs to the last state of an episode as well
            last = {name: np.stack([infos[i]["terminal_observation"][name] for i in ended]) for name in obs}
            for i, seen_S in zip(ended, self._look(last, ended), strict=True):
                infos[i]["terminal_observation"] = seen_S
            self._session.begin(ended)
        return self._look(obs, np.arange(self.num_envs)), reward_N, done_N, infos

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        session, stream = self._session.base.state_dict(), self.stream.state_dict()
        return {"base": self._base_NEA.copy(), **under("session", session), **under("stream", stream)}

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._base_NEA = np.array(arrays["base"])
        self._session.base.load_state_dict(below("session", arrays))
        self.stream.load_state_dict(below("stream", arrays))

    def _look(self, obs: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        """What the residual sees in these copies (one row of `obs` each); the base chooses its next action there."""
        base_NEA = self._session.next_base(obs, ids)
        self._base_NEA[ids] = base_NEA
        with torch.no_grad():
            seen: np.ndarray = self.policy.seen(self.policy.tensors(obs), torch.from_numpy(base_NEA)).numpy()
        return seen

"""An endless stream of episodes over a batched task: same-step autoreset, terminal observations kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from embodkd.envs import draws
from embodkd.envs.task import BatchTask


class StreamStep(NamedTuple):
    """One step of all copies.  ``obs`` is already that of the next episode where one ended; ``final_obs`` has one row
    per entry of ``final_ids``: the last observation of the episodes that ended in this step."""

    obs: dict[str, np.ndarray]
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    info: dict[str, np.ndarray]
    final_ids: np.ndarray
    final_obs: dict[str, np.ndarray]


class Stream:
    """Copy i begins with seed ``seed + i``; each next episode's seed follows from the last one's in that copy alone,
    so a batch equals a loop of singles."""

    def __init__(self, task: BatchTask, groups: Sequence[str], seed: int = 0) -> None:
        self.task = task
        self.groups = task.spec.check_groups(groups)
        self.seed, self.begun = seed, False

    def reset(self) -> dict[str, np.ndarray]:
        """Start every copy afresh and return its first observations."""
        return self._start(np.arange(self.task.num_envs, dtype=np.int64) + self.seed)

    def go_on(self) -> dict[str, np.ndarray]:
        """Leave the episodes that run, start the next one in every copy and return their first observations."""
        return self._start(draws.next_seeds(self.task.seeds))

    def step(self, actions: np.ndarray) -> StreamStep:
        """Advance every copy and restart those whose episode ended."""
        reward, terminated, truncated, info = self.task.step(actions)
        obs = self.task.observe(self.groups)
        final_ids = np.flatnonzero(terminated | truncated)
        final_obs = {name: values[final_ids] for name, values in obs.items()}
        if final_ids.size:
            self.task.reset(draws.next_seeds(self.task.seeds[final_ids]), final_ids)
            for name, values in self.task.observe(self.groups, final_ids).items():
                obs[name][final_ids] = values
        return StreamStep(obs, reward, terminated, truncated, info, final_ids, final_obs)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit."""
        return self.task.state_dict()

    def load_state_dict(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Continue from ``state_dict``; returns the observations at that instant."""
        self.begun = True
        self.task.load_state_dict(arrays)
        return self.task.observe(self.groups)

    def _start(self, seeds: np.ndarray) -> dict[str, np.ndarray]:
        self.begun = True
        self.task.reset(seeds)
        return self.task.observe(self.groups)

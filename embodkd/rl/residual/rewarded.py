"""A replay buffer that keeps episodes with a reward in sight: where rewards are rare, chance hardly ever draws one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

# What is held of each step.
KEPT = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class RewardedBuffer(NStepReplayBuffer):
    """stable-baselines3's n-step buffer, large enough never to be full; `share` of each sample is from episodes that
    earned something, as soon as there is one."""

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        *,
        share: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device, n_envs, **options)
        self.share = share
        # their steps once more, one episode after the other
        self.rewarded = NStepReplayBuffer(buffer_size, observation_space, action_space, device, 1, **options)
        self._first_N = np.zeros(n_envs, np.int64)

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """One step of every copy."""
        super().add(obs, next_obs, action, reward, done, infos)
        assert not self.full, "the buffer holds all steps of a training"
        self._gather(self.pos - 1)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Steps of all episodes, then of those with a reward."""
        return next(self.batches(1, batch_size))

    def batches(self, count: int, size: int) -> Iterator[ReplayBufferSamples]:
        """So many batches, each as ``sample`` gives one: drawn at once, which takes less time than one by one."""
        chosen = round(self.share * size) if self.rewarded.pos else 0
        parts: list[tuple[Any, int]] = [(super().sample(count * (size - chosen)), size - chosen)]
        if chosen:
            parts.append((self.rewarded.sample(count * chosen), chosen))
        for k in range(count):
            rows = [[values[k * n : (k + 1) * n] for values in part] for part, n in parts]
            yield ReplayBufferSamples(*(torch.cat(pieces) for pieces in zip(*rows, strict=True)))

    def take_over(self, rows: dict[str, np.ndarray]) -> None:
        """All steps of another buffer, KEPT -> (T, N, ...); this one is empty before."""
        for name in KEPT:
            getattr(self, name)[: len(rows[name])] = rows[name]
        self.pos = len(rows["dones"])
        for step in range(self.pos):
            self._gather(step)

    def _gather(self, step: int) -> None:
        """Copy the episodes that ended at this step, if they earned something."""
        for copy in np.flatnonzero(self.dones[step]):
            episode = slice(self._first_N[copy], step + 1)
            self._first_N[copy] = step + 1
            if self.share and (self.rewards[episode, copy] > 0).any():
                end = self.rewarded.pos + episode.stop - episode.start
                for name in KEPT:
                    getattr(self.rewarded, name)[self.rewarded.pos : end, 0] = getattr(self, name)[episode, copy]
                self.rewarded.pos = end

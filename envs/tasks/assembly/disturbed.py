"""Demonstrations with a disturbed hand: what an expert does from places that it would not come to by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from embodkd.envs import draws
from embodkd.envs.tasks.assembly.task import Assembly

_KEPT = 0.8  # share of the noise that stays from step to step
_NEW = 0.6  # of a standard normal number: the variance stays 1


class Disturbed:
    """A session whose positions are carried out with noise (DART; Laskey et al., CoRL 2017, arXiv:1703.09327).

    The noise (m) follows z <- 0.8 z + 0.6 N(0, 1) from 0, times a size that each episode draws between 0 and ``most``.
    Rotation and fingers are left alone. ``meant`` is what was asked for without it: the label.
    """

    def __init__(self, session: Any, task: Assembly, most: float) -> None:
        self.session, self.task, self.most = session, task, most
        self.meant = np.zeros((task.num_envs, task.spec.action_size), np.float32)
        self._noise_NT3 = np.zeros((task.num_envs, task.max_steps, 3))

    def begin(self, ids: np.ndarray | None = None) -> None:
        """Episodes have just started in the copies ``ids`` (None: all)."""
        self.session.begin(ids)
        rows = np.arange(self.task.num_envs) if ids is None else ids
        seeds, steps = self.task.seeds[rows], self.task.max_steps
        fresh_nT3 = draws.normal(seeds, "disturb", 3 * steps).reshape(-1, steps, 3)
        size_n = draws.uniform(seeds, "disturb size", 1, high=self.most)
        z_n3 = np.zeros((len(rows), 3))
        for step in range(steps):
            z_n3 = _KEPT * z_n3 + _NEW * fresh_nT3[:, step]
            self._noise_NT3[rows, step] = size_n * z_n3

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray | None = None) -> np.ndarray:
        """The actions to carry out in the copies ``ids`` (None: all), float32 (n, 10)."""
        ids = np.arange(self.task.num_envs) if ids is None else ids
        self.meant = self.session.act(obs, ids)
        now = np.minimum(self.task.steps[ids], self.task.max_steps - 1)
        done = self.meant.copy()
        done[:, :3] += self._noise_NT3[ids, now]
        return done

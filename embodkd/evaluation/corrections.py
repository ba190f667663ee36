"""How far a residual moves what its base would do, by what the task is busy with: are the corrections local?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from embodkd.envs.episodes import episode_steps
from embodkd.envs.geometry import matrix_from_rot6d, quat_from_matrix, rotvec_from_quat
from embodkd.envs.tasks.assembly.phases import PHASES, phase
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.policies import ResidualPolicy


def corrections(policy: ResidualPolicy, task: Assembly, seed: int = 0) -> dict[str, dict[str, float]]:
    """One episode in each copy of `task`, from seed, seed + 1, ...: per phase, "mm" and "degrees" between the pose that
    the base asks for and the one that the sum does (means over its steps), and the phase's "share" of all steps.

    A phase that never occurs is absent. Source: arXiv 2407.16677 shows that corrections are small and local.
    """
    driver = _Watched(policy, task)
    seeds = seed + np.arange(task.num_envs, dtype=np.int64)
    deque(episode_steps(task, driver, policy.reads, seeds), maxlen=0)
    return _by_phase(np.concatenate(driver.rows))


class _Watched:
    """The sum at work in episodes that begin together; keeps a row (phase, mm, degrees) of every step of each."""

    def __init__(self, policy: ResidualPolicy, task: Assembly) -> None:
        self.policy, self.task, self.session = policy, task, policy.session(task.num_envs)
        self.rows: list[np.ndarray] = []
        self._asked_NEA, self._sum_NEA = np.zeros((2, task.num_envs, policy.every, policy.action_size), np.float32)

    def begin(self, ids: np.ndarray | None = None) -> None:
        """See Session.begin."""
        self.session.begin(ids)

    def act(self, obs: Mapping[str, np.ndarray], ids: np.ndarray) -> np.ndarray:
        """See Session.act."""
        policy, k = self.policy, len(self.rows) % self.policy.every
        if k == 0:
            base_nEA = torch.from_numpy(self.session.next_base(obs, ids))
            with torch.no_grad():
                size_nF = policy.correction(policy.seen(policy.tensors(obs), base_nEA))
                self._asked_NEA[ids] = policy.corrected(base_nEA, 0 * size_nF).numpy()
                self._sum_NEA[ids] = policy.corrected(base_nEA, size_nF).numpy()
        sum_nA = self._sum_NEA[ids, k]
        moved_n, turned_n = _apart(self._asked_NEA[ids, k], sum_nA)
        self.rows.append(np.stack([phase(self.task)[ids], moved_n, turned_n], axis=1))
        return policy.clipped(torch.from_numpy(sum_nA)).numpy()


def _apart(asked_NA: np.ndarray, sum_NA: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres and degrees between two absolute poses of the tool, (N,) each."""
    asked, found = (matrix_from_rot6d(actions[:, 3:9].astype(float)) for actions in (asked_NA, sum_NA))
    between = rotvec_from_quat(quat_from_matrix(np.swapaxes(asked, 1, 2) @ found))
    moved = np.linalg.norm(sum_NA[:, :3] - asked_NA[:, :3], axis=1)
    return 1000 * moved, np.degrees(np.linalg.norm(between, axis=1))


def _by_phase(rows_R3: np.ndarray) -> dict[str, dict[str, Any]]:
    found = {}
    for k, name in enumerate(PHASES):
        here = rows_R3[rows_R3[:, 0] == k]
        if len(here):
            mm, degrees = here[:, 1:].mean(0)
            found[name] = {
                "mm": round(float(mm), 2),
                "degrees": round(float(degrees), 2),
                "share": round(len(here) / len(rows_R3), 3),
            }
    return found

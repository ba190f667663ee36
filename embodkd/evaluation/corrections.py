"""How far a residual moves what its base would do, by what the task is busy with: are the corrections local?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from embodkd.envs.geometry import matrix_from_rot6d, quat_from_matrix, rotvec_from_quat
from embodkd.envs.tasks.assembly.phases import PHASES, phase
from embodkd.envs.tasks.assembly.task import Assembly
from embodkd.policies import ResidualPolicy


def corrections(policy: ResidualPolicy, task: Assembly, seed: int = 0) -> dict[str, dict[str, float]]:
    """One episode in each copy of `task`, from seed, seed + 1, ...: per phase, "mm" and "degrees" between the pose that
    the base asks for and the one that the sum does (means over its steps), and the phase's "share" of all steps.

    A phase that never occurs is absent. Source: arXiv 2407.16677 shows that corrections are small and local.
    """
    count, every = task.num_envs, policy.every
    task.reset(seed + np.arange(count, dtype=np.int64))
    rest_NP = np.stack([task.part(part.name).position[:, 2] for part in task.parts], axis=1)
    session = policy.session(count)
    running_N = np.ones(count, bool)
    rows: list[np.ndarray] = []
    while running_N.any():
        obs = task.observe(policy.reads)
        base_NEA = torch.from_numpy(session.next_base(obs))
        with torch.no_grad():
            size_NF = policy.correction(policy.seen(policy.tensors(obs), base_NEA))
            asked_NEA, sum_NEA = (policy.corrected(base_NEA, size).numpy() for size in (0 * size_NF, size_NF))
        for k in range(every):
            moved, turned = _apart(asked_NEA[:, k], sum_NEA[:, k])
            rows.append(np.stack([phase(task, rest_NP), moved, turned], axis=1)[running_N])
            step = task.step(sum_NEA[:, k].clip(-1.0, 1.0))
            running_N &= ~(step.terminated | step.truncated)
            if not running_N.any():
                break
    return _by_phase(np.concatenate(rows))


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

"""What an assembly is busy with at a moment, told from its state."""

from __future__ import annotations

import numpy as np
from embodkd.envs.tasks.assembly.task import Assembly

PHASES = ("reach", "grasp", "carry", "insert")
BESIDE = 0.05  # m, sideways: this close the tool is at a part
LIFTED = 0.01  # m above the place where the part stood


def phase(task: Assembly, rest_NP: np.ndarray) -> np.ndarray:
    """Index into PHASES for every copy, (N,).

    rest_NP: height of each part's frame (m) at the start of the episode. "insert": a part that is not joined yet is
    within its pair's `near` of the base's axis; "carry": one is lifted elsewhere; "grasp": the tool is over one that
    is not lifted; "reach": none of these.
    """
    tool = task.tool().position
    found_N = np.zeros(task.num_envs, np.int64)
    for k, pair in enumerate(task.pairs):
        open_N = ~task.joined_NK[:, k]
        part = task.part(pair.part).position
        beside = task.relative(pair).position
        here_N = np.select(
            [
                np.hypot(beside[:, 0], beside[:, 1]) < pair.near,
                part[:, 2] - rest_NP[:, task.order[pair.part]] > LIFTED,
                np.hypot(*(part - tool)[:, :2].T) < BESIDE,
            ],
            [3, 2, 1],
            default=0,
        )
        found_N = np.maximum(found_N, np.where(open_N, here_N, 0))
    return found_N

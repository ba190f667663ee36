"""What an assembly is busy with at a moment, told from its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from embodkd.envs.tasks.assembly.parts import LIFTED

if TYPE_CHECKING:
    from embodkd.envs.tasks.assembly.task import Assembly

PHASES = ("reach", "grasp", "carry", "insert")
BESIDE = 0.05  # m, sideways: this close the tool is at a part


def phase(task: Assembly) -> np.ndarray:
    """Index into PHASES for every copy, (N,): the furthest that any of its pairs has come.

    "insert": a part that is not joined yet is within its pair's `near` of the base's axis; "carry": one is lifted
    elsewhere; "grasp": the tool is over one that is not lifted; "reach": none of these.
    """
    furthest_N: np.ndarray = _of_pairs(task).max(axis=1)
    return furthest_N


def phase_names(task: Assembly) -> tuple[str, ...]:
    """The same in words, with the part that it is about where there are several to join: "insert bulb"."""
    found_NK = _of_pairs(task)
    words = []
    for phases_K in found_NK:
        pair = int(phases_K.argmax())
        word = PHASES[phases_K[pair]]
        words.append(word if len(task.pairs) == 1 or phases_K[pair] == 0 else f"{word} {task.pairs[pair].part}")
    return tuple(words)


def _of_pairs(task: Assembly) -> np.ndarray:
    """Index into PHASES of every pair of every copy, 0 for one that is joined, (N, K)."""
    tool = task.tool().position
    found_NK = np.zeros(task.joined_NK.shape, np.int64)
    for k, pair in enumerate(task.pairs):
        part = task.part(pair.part).position
        beside = task.relative(pair).position
        found_NK[:, k] = np.select(
            [
                task.joined_NK[:, k],
                np.hypot(beside[:, 0], beside[:, 1]) < pair.near,
                part[:, 2] - task.parts[task.order[pair.part]].height > LIFTED,
                np.hypot(*(part - tool)[:, :2].T) < BESIDE,
            ],
            [0, 3, 2, 1],
            default=0,
        )
    return found_NK

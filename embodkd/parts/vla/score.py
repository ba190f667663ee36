"""The VLA score: how well one trajectory reasons, means, acts, and does as it says (DualVLA, section 3.4).

    specialist (says nothing)     S = A I B
    reasoning model               S = (R + A I) / 2 * RA * B
each in [0, 1]; the mean over trajectories, times 100. It is no product of means, and never above the mean of RA or of
B. A judge by rules gives R, A, I and RA here; one by a language model fills the same form, in a column of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

AGREES = 0.5  # cosine between what was said and what was done


@dataclass(frozen=True)
class TrajectoryMarks:
    """One trajectory. reasoning: None for one that says nothing. action, intention, agreement in [0, 1]; success."""

    action: float
    intention: float
    success: bool
    reasoning: float | None = None
    agreement: float = 1.0

    def __post_init__(self) -> None:
        for name in ("action", "intention", "agreement", "reasoning"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"VLA score: {name} is {value}; a judge's marks go from 0 to 1")

    @property
    def score(self) -> float:
        """S."""
        if not self.success:
            return 0.0
        if self.reasoning is None:
            return self.action * self.intention
        return 0.5 * (self.reasoning + self.action * self.intention) * self.agreement


def vla_score(judged: list[TrajectoryMarks]) -> float:
    """The mean times 100. ValueError for no trajectory."""
    if not judged:
        raise ValueError("VLA score: no trajectory was judged")
    return 100.0 * float(np.mean([one.score for one in judged]))


def slot_f1(said: Mapping[str, str], true: Mapping[str, str]) -> float:
    """R of one frame: F1 of the facts that a text states, by slot; 1 where there is nothing to say and none is said."""
    if not said and not true:
        return 1.0
    right = sum(true.get(slot) == value for slot, value in said.items())
    return 2.0 * right / (len(said) + len(true))


def agreement(said_TD: np.ndarray, done_TD: np.ndarray, said_grip_T: np.ndarray, grip_T: np.ndarray) -> float:
    """RA: of the frames that said something, the share where the arm moved that way and the gripper was as said.

    said (T, D): directions, zero rows where nothing was said. 1 where nothing was.
    """
    spoke_T = np.linalg.norm(said_TD, axis=1) > 0
    if not spoke_T.any():
        return 1.0
    length_T = np.linalg.norm(said_TD, axis=1) * np.linalg.norm(done_TD, axis=1)
    cosine_T = np.einsum("td,td->t", said_TD, done_TD) / np.maximum(length_T, 1e-12)
    return float(((cosine_T > AGREES) & (said_grip_T == grip_T))[spoke_T].mean())


def progress(distance_T: np.ndarray) -> float:
    """Part of A: the share of the steps that do not lead away from the sub-goal."""
    return 1.0 if len(distance_T) < 2 else float((np.diff(distance_T) <= 1e-6).mean())

"""At which frames of a demonstration reasoning is worth its words (DualVLA, section 3.2).

Kept is a frame where both layers see something happen: the arm speeds up, turns or grips (action), and what is seen
changes (scene, see `events.py`). Elsewhere there is no text at all, neither as target nor as context, so that the model
learns to be silent. Actions are learned at all frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

Kept = Literal["both", "scene", "action", "random", "all", "none"]
METRES_PER_RADIAN = 0.1  # how a turn is weighed against a way; the paper adds metres and radians as they are


def second_difference(pose_TD: np.ndarray, weigh_turns: bool = True) -> np.ndarray:
    """|p(k+1) - 2 p(k) + p(k-1)| of poses (T, 6), metres and rotation vector in rad, (T,); 0 at both ends.

    Take commanded or smoothed poses: 1 cm of noise fires everywhere. weigh_turns: a radian counts as 10 cm, else as a
    metre.
    """
    scaled_TD = pose_TD.astype(np.float64)
    if weigh_turns:
        scaled_TD = scaled_TD * np.array([1.0, 1.0, 1.0, *[METRES_PER_RADIAN] * (pose_TD.shape[1] - 3)])
    size_T = np.zeros(len(pose_TD))
    if len(pose_TD) > 2:
        size_T[1:-1] = np.linalg.norm(np.diff(scaled_TD, n=2, axis=0), axis=1)
    return size_T


def action_label(pose_TD: np.ndarray, grip_T: np.ndarray, weigh_turns: bool = True) -> np.ndarray:
    """Where the arm does something, bool (T,): its second difference is above the mean, or the gripper opens or closes.

    grip: closed or open at each frame. Neither a scale nor a constant offset of poses changes anything.
    """
    size_T = second_difference(pose_TD, weigh_turns)
    # an even motion differs from its mean by rounding alone
    above_T = size_T > size_T.mean() + 1e-9 * np.abs(pose_TD).max(initial=0.0)
    flips_T = np.zeros(len(grip_T), dtype=bool)
    flips_T[1:] = grip_T[1:] != grip_T[:-1]
    return above_T | flips_T


def dilated(label_T: np.ndarray, frames: int = 1) -> np.ndarray:
    """Also true up to `frames` frames beside what is true."""
    wide_T = label_T.copy()
    for k in range(1, min(frames, len(label_T) - 1) + 1):
        wide_T[k:] |= label_T[:-k]
        wide_T[:-k] |= label_T[k:]
    return wide_T


def kept(scene_T: np.ndarray, action_T: np.ndarray, how: Kept = "both", seed: int = 0) -> np.ndarray:
    """The frames that keep their text, bool (T,).

    random: as many as both layers would keep, anywhere: the arm that says whether it matters which. ValueError for an
    unknown way or labels of different length.
    """
    if len(scene_T) != len(action_T):
        raise ValueError(f"pruning: {len(scene_T)} labels of scenes and {len(action_T)} of actions; give one per frame")
    both_T = scene_T & action_T
    if how == "random":
        chosen = np.random.default_rng(seed).permutation(len(both_T))[: both_T.sum()]
        return np.isin(np.arange(len(both_T)), chosen)
    ways = {"both": both_T, "scene": scene_T, "action": action_T}
    ways |= {"all": np.ones_like(both_T), "none": np.zeros_like(both_T)}
    if how not in ways:
        raise ValueError(f"pruning: no way {how!r}; there are random, {', '.join(ways)}")
    return ways[how].copy()


def dropped_out(kept_T: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Each kept frame loses its text with the probability `share` (ECoT-Lite, arXiv 2505.08243: reasoning dropout)."""
    return kept_T & (np.random.default_rng(seed).random(len(kept_T)) >= share)


def kept_shares(kept_T: np.ndarray, phase_T: np.ndarray) -> Mapping[str, float]:
    """The share of kept frames in all and in each phase, by its name."""
    shares = {"all": float(kept_T.mean()) if len(kept_T) else 0.0}
    return shares | {str(phase): float(kept_T[phase_T == phase].mean()) for phase in np.unique(phase_T)}

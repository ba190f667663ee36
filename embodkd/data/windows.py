"""Windows of demonstrations: what was seen at a step and the actions from there on, to imitate chunks of actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from embodkd.core import Signals, Source


class Windows(NamedTuple):
    """W windows: the frame each begins at, and the last frame of its episode, both counted over all episodes."""

    first_W: np.ndarray
    last_W: np.ndarray


def windows(lengths_E: npt.ArrayLike, horizon: int, execute: int) -> Windows:
    """The windows of `horizon` actions in episodes of these lengths.

    A window may reach beyond its episode's end by execute - 1 steps, for which the last action is repeated: then each
    chunk's executed part is at least one action of the demonstration. An episode of L steps has
    L - (horizon - execute) windows (arXiv 2407.16677), none if it is shorter than that.
    """
    if not 1 <= execute <= horizon:
        raise ValueError(f"windows need 1 <= execute <= horizon, got execute={execute}, horizon={horizon}")
    steps_E = np.asarray(lengths_E, np.int64)
    count_E = np.maximum(steps_E - (horizon - execute), 0)
    end_E = np.cumsum(steps_E)
    episode_W = np.repeat(np.arange(len(steps_E)), count_E)
    place_W = np.arange(count_E.sum()) - np.repeat(np.cumsum(count_E) - count_E, count_E)
    return Windows((end_E - steps_E)[episode_W] + place_W, end_E[episode_W] - 1)


class ChunkSource(Source):
    """Batches of what was seen when a window begins and, as `action` (N, H, A), the actions from there on.

    frames: observation group -> (F, *shape) of all episodes; they are kept once, however many windows show them. A
    window's sample id is the frame that it begins at.
    """

    def __init__(self, frames: Mapping[str, np.ndarray], action_FA: np.ndarray, chosen: Windows, horizon: int) -> None:
        self.frames, self.action_FA = dict(frames), action_FA
        self._windows, self._ahead_H = chosen, np.arange(horizon)

    def size(self) -> int:
        """How many windows there are."""
        return len(self._windows.first_W)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The windows at `index`."""
        first_N, last_N = (part[index] for part in self._windows)
        frame_NH = np.minimum(first_N[:, None] + self._ahead_H, last_N[:, None])
        batch = {name: torch.from_numpy(values[first_N]) for name, values in self.frames.items()}
        action_NHA = torch.from_numpy(self.action_FA[frame_NH])
        return Signals(batch, action=action_NHA, sample_id=torch.from_numpy(first_N))


class Chunks(NamedTuple):
    """What a chunk policy is trained on and, held out, judged by; they share all frames."""

    train: ChunkSource
    held_out: ChunkSource


def chunks_of(
    frames: Mapping[str, np.ndarray],
    action_FA: np.ndarray,
    lengths_E: npt.ArrayLike,
    *,
    horizon: int,
    execute: int,
    held_out: float = 0.05,
    seed: int = 0,
) -> Chunks:
    """All windows of these episodes, a random share of them (whatever their episode) held out, at least one."""
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"held_out is a share of the windows between 0 and 1, got {held_out}")
    found = windows(lengths_E, horizon, execute)
    count = len(found.first_W)
    apart = max(1, round(held_out * count))
    if apart >= count:
        raise ValueError(
            f"the demonstrations have {count} windows of {horizon} actions, too few to learn from: an episode needs "
            f"more than {horizon - execute} steps, the longest has {np.max(lengths_E, initial=0)}"
        )
    order = np.random.default_rng([seed, 0x3E1D]).permutation(count)
    train, rest = (np.sort(part) for part in (order[apart:], order[:apart]))
    first, last = found
    return Chunks(*(ChunkSource(frames, action_FA, Windows(first[w], last[w]), horizon) for w in (train, rest)))

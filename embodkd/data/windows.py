"""Windows of demonstrations: what was seen at a step and the actions from there on, to imitate chunks of actions.

Neighbouring windows share nearly all their frames, and what is particular to an episode is in all of its windows: so
held out are whole episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from embodkd.core import Signals, Source
from embodkd.core.precision import as_default


class Windows(NamedTuple):
    """W windows: the frame each begins at, and the last frame of its episode, both counted over all episodes."""

    first_W: np.ndarray
    last_W: np.ndarray

    @property
    def episodes(self) -> np.ndarray:
        """The last frames of the episodes that have a window, each once: an episode has no other name here."""
        return np.unique(self.last_W)

    def where(self, chosen_W: np.ndarray) -> Windows:
        """Those for which `chosen_W` (W,) is true."""
        return Windows(self.first_W[chosen_W], self.last_W[chosen_W])


def windows(lengths_E: npt.ArrayLike, horizon: int, execute: int, mask: bool = False) -> Windows:
    """The windows of `horizon` actions in episodes of these lengths.

    A window may reach beyond its episode's end by execute - 1 steps, for which the last action is repeated: then each
    chunk's executed part is at least one action of the demonstration. An episode of L steps has
    L - (horizon - execute) windows (arXiv 2407.16677), none if it is shorter than that. With `mask` nobody learns from
    the repeated ones, so that every step begins a window.
    """
    if not 1 <= execute <= horizon:
        raise ValueError(f"windows need 1 <= execute <= horizon, got execute={execute}, horizon={horizon}")
    steps_E = np.asarray(lengths_E, np.int64)
    count_E = steps_E if mask else np.maximum(steps_E - (horizon - execute), 0)
    end_E = np.cumsum(steps_E)
    episode_W = np.repeat(np.arange(len(steps_E)), count_E)
    place_W = np.arange(count_E.sum()) - np.repeat(np.cumsum(count_E) - count_E, count_E)
    return Windows((end_E - steps_E)[episode_W] + place_W, end_E[episode_W] - 1)


class ChunkSource(Source):
    """Batches of what was seen when a window begins and, as `action` (N, H, A), the actions from there on.

    frames: observation group -> (F, *shape) of all episodes, or something indexed like it; they are kept once, however
    many windows show them. A window's sample id is the frame that it begins at. mask: say in the field "kept" (N, H)
    which actions lie in the episode; `kept` is then that field's name, else None.
    """

    def __init__(
        self, frames: Mapping[str, Any], action_FA: np.ndarray, chosen: Windows, horizon: int, mask: bool = False
    ) -> None:
        self.frames, self.action_FA = dict(frames), action_FA
        self.windows, self._ahead_H = chosen, np.arange(horizon)
        self.kept = "kept" if mask else None

    def size(self) -> int:
        """How many windows there are."""
        return len(self.windows.first_W)

    def gather(self, index: np.ndarray, epoch: int) -> Signals:
        """The windows at `index`."""
        first_N, last_N = (part[index] for part in self.windows)
        ahead_NH = first_N[:, None] + self._ahead_H
        frame_NH = np.minimum(ahead_NH, last_N[:, None])
        batch = {name: as_default(torch.from_numpy(values[first_N])) for name, values in self.frames.items()}
        if self.kept is not None:
            batch[self.kept] = torch.from_numpy(ahead_NH == frame_NH)
        action_NHA = as_default(torch.from_numpy(self.action_FA[frame_NH]))
        return Signals(batch, action=action_NHA, sample_id=torch.from_numpy(first_N))

    @property
    def padding(self) -> float:
        """The share of the actions that repeat an episode's last one."""
        room_W = self.windows.last_W - self.windows.first_W + 1
        return 1.0 - float(np.minimum(room_W, len(self._ahead_H)).mean()) / len(self._ahead_H)

    def shown(self, names: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """(observations of these groups, actions) of the frames that a window covers, each once: nothing held out."""
        first_W, last_W = self.windows
        change_F = np.zeros(len(self.action_FA) + 1, np.int64)
        np.add.at(change_F, first_W, 1)
        np.add.at(change_F, np.minimum(first_W + len(self._ahead_H), last_W + 1), -1)
        covered_F = change_F.cumsum()[:-1] > 0
        return {name: self.frames[name][covered_F] for name in names}, self.action_FA[covered_F]


class Chunks(NamedTuple):
    """What a chunk policy is trained on and, held out, judged by; they share the store of frames, no window of one
    shows a frame of the other. said: how they were told apart."""

    train: ChunkSource
    held_out: ChunkSource
    said: str


def chunks_of(
    frames: Mapping[str, Any],
    action_FA: np.ndarray,
    lengths_E: npt.ArrayLike,
    *,
    horizon: int,
    execute: int,
    held_out: float = 0.05,
    seed: int = 0,
    mask: bool = False,
) -> Chunks:
    """All windows of these episodes, those of a random share of the episodes held out, of one episode at least.

    Where only one episode is long enough for windows, that share of its last ones is held out, with a gap of one
    horizon before them.
    """
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"held_out is a share of the episodes between 0 and 1, got {held_out}")
    found = windows(lengths_E, horizon, execute, mask)
    episodes, longest = found.episodes, np.max(lengths_E, initial=0)
    if not len(episodes):
        raise ValueError(
            f"the demonstrations have no window of {horizon} actions: an episode needs more than {horizon - execute} "
            f"steps, the longest has {longest}"
        )
    if len(episodes) == 1:
        apart_W, kept_W = _last(found, horizon, held_out)
        if not kept_W.any():
            raise ValueError(
                f"only one episode has windows of {horizon} actions, {len(kept_W)} of them, too few to hold out any "
                f"with a gap of {horizon} steps: record another episode of more than {horizon - execute} steps"
            )
        said = f"one episode: its last {apart_W.sum()} windows are held out, {horizon} steps behind the others"
    else:
        count = min(max(1, round(held_out * len(episodes))), len(episodes) - 1)
        chosen = np.random.default_rng([seed, 0x3E1D]).permutation(episodes)[:count]
        apart_W = np.isin(found.last_W, chosen)
        kept_W = ~apart_W
        said = f"{count} of {len(episodes)} episodes are held out, {apart_W.sum()} of {len(apart_W)} windows"
    short = np.size(lengths_E) - len(episodes)
    if short:
        said += f"; {short} shorter than {horizon - execute + 1} steps have no window and are not used"
    train, rest = (ChunkSource(frames, action_FA, found.where(part_W), horizon, mask) for part_W in (kept_W, apart_W))
    if train.padding and not mask:
        said += f"; {train.padding:.0%} of the actions to learn repeat an episode's last one (pad=mask leaves them out)"
    return Chunks(train, rest, said)


def _last(found: Windows, horizon: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """(the last windows of an episode, those that show no frame of them), both bool (W,)."""
    first = found.first_W[-max(1, round(share * len(found.first_W)))]
    return found.first_W >= first, found.first_W + horizon <= first

"""Pictures that are decoded when somebody looks at them, and kept as long as there is room."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

Decode = Callable[[np.ndarray], np.ndarray]
"""Frames of an episode, ascending, each once -> their pictures (n, C, H, W)."""


class Memory:
    """How many bytes of decoded pictures may be kept, by all cameras that share it."""

    def __init__(self, most: float) -> None:
        self.left = most

    def take(self, size: int) -> bool:
        """Whether so many bytes are left; then they are taken."""
        room = size <= self.left
        self.left -= size if room else 0
        return room


class Pictures:
    """All F pictures of a camera, episode after episode, as if they were an array (F, C, H, W) of bytes.

    An episode is decoded when it is first looked at and kept while `memory` has room; those beyond are decoded again
    frame by frame whenever they are looked at. Batches look at random episodes, so to drop one for another would gain
    nothing. mark: what the pictures are known by without being decoded, for `fingerprint`.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        shape: Sequence[int],
        length_E: Sequence[int] | np.ndarray,
        decode_E: Sequence[Decode],
        memory: Memory,
        mark: Any = None,
    ) -> None:
        self.shape = (int(np.sum(length_E)), *shape)
        self._length_E, self._decode_E, self._memory = np.asarray(length_E), list(decode_E), memory
        self._mark, self._end_E = mark, np.cumsum(self._length_E)
        self._kept: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all of them decoded."""
        return math.prod(self.shape)

    def fingerprint(self) -> Any:
        """What tells these pictures from others, as far as their files say it without being decoded."""
        return [self.shape, self._length_E, self._mark]

    def __getitem__(self, index: Any) -> np.ndarray:
        """Those at `index`: a number, a slice or an array of numbers or booleans, as of an array."""
        wanted = np.arange(len(self))[index]
        frame_N = np.atleast_1d(wanted)
        found = np.empty((len(frame_N), *self.shape[1:]), np.uint8)
        episode_N = np.searchsorted(self._end_E, frame_N, "right")
        for episode in np.unique(episode_N):
            here = np.flatnonzero(episode_N == episode)
            first = self._end_E[episode] - self._length_E[episode]
            found[here] = self._of(int(episode), frame_N[here] - first)
        return found if np.ndim(wanted) else found[0]

    @classmethod
    def joined(cls, parts: Sequence[Pictures]) -> Pictures:
        """The pictures of several datasets, one after the other, in the memory of the first."""
        decode_E = [decode for part in parts for decode in part._decode_E]
        length_E, marks = np.concatenate([part._length_E for part in parts]), [part._mark for part in parts]
        return cls(parts[0].shape[1:], length_E, decode_E, parts[0]._memory, marks)

    def chosen(self, episodes: np.ndarray) -> Pictures:
        """Those of these episodes alone."""
        decode_E = [self._decode_E[episode] for episode in episodes]
        return Pictures(self.shape[1:], self._length_E[episodes], decode_E, self._memory, self._mark)

    def _of(self, episode: int, frame_N: np.ndarray) -> np.ndarray:
        whole = int(self._length_E[episode]) * math.prod(self.shape[1:])
        if episode not in self._kept and self._memory.take(whole):
            self._kept[episode] = self._decode_E[episode](np.arange(self._length_E[episode]))
        if episode in self._kept:
            return self._kept[episode][frame_N]
        each, place_N = np.unique(frame_N, return_inverse=True)
        return self._decode_E[episode](each)[place_N]


def of_episodes(decode: Callable[[int, np.ndarray], np.ndarray], count: int) -> list[Decode]:
    """A camera's decoder of (episode, frames), as one for each episode."""
    return [partial(decode, episode) for episode in range(count)]


def resized(pictures_NCHW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pictures of bytes at another size (H, W): each new pixel is the mean of what it covers of the old ones."""
    if pictures_NCHW.shape[2:] == tuple(size):
        return pictures_NCHW
    values = functional.adaptive_avg_pool2d(torch.from_numpy(pictures_NCHW).float(), size)
    return values.round_().clamp_(0, 255).byte().numpy()

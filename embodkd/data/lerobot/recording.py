"""Demonstrations in memory: one episode as it was recorded, and a whole dataset as it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embodkd.core.group import GroupFacts


@dataclass(frozen=True)
class Recording:
    """One episode of T steps.

    groups: name -> (T, *shape), what was seen before each action; action: (T, A) in [-1, 1]; reward: (T,); success:
    whether the goal held at the last step; seed: the episode's own, with which a task starts it again.
    """

    groups: Mapping[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    success: bool
    seed: int


@dataclass(frozen=True)
class About:
    """What a dataset says of itself.

    groups: the observation groups that can be read, by name; action_size: A; task: as from `task_record`, {} where the
    dataset names none.
    """

    groups: Mapping[str, GroupFacts]
    action_size: int
    fps: float
    task: Mapping[str, Any]


@dataclass(frozen=True)
class Demonstrations:
    """All F frames of a dataset of E episodes, one episode after the other.

    frames: group -> (F, *shape), those that were asked for; action_FA: float32; lengths_E: steps of each episode;
    seeds_E: -1 where the dataset does not say.
    """

    about: About
    frames: Mapping[str, np.ndarray]
    action_FA: np.ndarray
    lengths_E: np.ndarray
    seeds_E: np.ndarray

    @property
    def starts_E(self) -> np.ndarray:
        """The first frame of each episode."""
        return np.cumsum(self.lengths_E) - self.lengths_E

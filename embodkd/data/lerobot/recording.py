"""Demonstrations in memory: one episode as it was recorded, and a whole dataset as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embodkd.core.sources.group import GroupFacts


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


def together(parts: Sequence[Demonstrations]) -> Demonstrations:
    """All episodes of several datasets, one dataset after the other; it is about what the first is about.

    ValueError if another's actions, rate or groups are not those of the first.
    """
    first = parts[0]
    for number, part in enumerate(parts[1:], 2):
        same: dict[str, tuple[Any, Any]] = {"actions": (first.about.action_size, part.about.action_size)}
        same["frames per second"] = (first.about.fps, part.about.fps)
        for name, values in first.frames.items():
            same[f"group {name}"] = (values.shape[1:], part.frames[name].shape[1:])
        for what, (one, other) in same.items():
            if one != other:
                raise ValueError(f"dataset {number} differs from the first in its {what}: {other}, not {one}")
    return Demonstrations(
        first.about,
        {name: np.concatenate([part.frames[name] for part in parts]) for name in first.frames},
        np.concatenate([part.action_FA for part in parts]),
        np.concatenate([part.lengths_E for part in parts]),
        np.concatenate([part.seeds_E for part in parts]),
    )

"""Demonstrations in memory: one episode as it was recorded, and a whole dataset as it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core.sources.group import GroupFacts
from embodkd.data.lerobot.pictures import Pictures

TASK = "task"
"""The group that says what was asked for at each step: the number of a sentence among `About.tasks`, int64 (F, 1)."""


@dataclass(frozen=True)
class Recording:
    """One episode of T steps.

    groups: name -> (T, *shape), what was seen before each action; action: (T, A) in its own units; reward: (T,);
    success: whether the goal held at the last step; seed: the episode's own, with which a task starts it again; tasks:
    the sentence that it was told, or one for each step; None: the name of the dataset's task.
    """

    groups: Mapping[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    success: bool
    seed: int
    tasks: str | Sequence[str] | None = None


@dataclass(frozen=True)
class About:
    """What a dataset says of itself.

    groups: the observation groups that can be read, by name; action_size: A; task: as from `task_record`, {} where the
    dataset names none; tasks: the sentences that the numbers of the group "task" stand for; names: what the dataset
    calls the single numbers of a vector group or of "action", which are left out where it does not; observed: the
    groups that it calls observations, or the user does; places: the feature that holds a group or "action", and from
    which of its numbers on.
    """

    groups: Mapping[str, GroupFacts]
    action_size: int
    fps: float
    task: Mapping[str, Any]
    tasks: tuple[str, ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    observed: tuple[str, ...] = ()
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Demonstrations:
    """All F frames of E episodes of a dataset, one episode after the other.

    frames: group -> (F, *shape), those that were asked for, cameras as `Pictures`; action_FA: float32; lengths_E: steps
    of each episode; seeds_E: -1 where the dataset does not say; episodes_E: the episodes' numbers in the dataset; said:
    what a user should hear of the reading.
    """

    about: About
    frames: Mapping[str, Any]
    action_FA: np.ndarray
    lengths_E: np.ndarray
    seeds_E: np.ndarray
    episodes_E: np.ndarray
    said: tuple[str, ...] = ()

    @property
    def starts_E(self) -> np.ndarray:
        """The first frame of each episode."""
        return np.cumsum(self.lengths_E) - self.lengths_E

    @property
    def digests_E(self) -> np.ndarray:
        """A number for each episode that hardly another one has, whatever its dataset is called, int64 (E,)."""
        episodes = np.split(np.ascontiguousarray(self.action_FA, np.float32), self.starts_E[1:])
        digests = [hashlib.sha256(actions.tobytes()).digest() for actions in episodes]
        return np.array([int.from_bytes(digest[:8], "little", signed=True) for digest in digests], np.int64)

    def only(self, chosen: np.ndarray) -> Demonstrations:
        """These of its episodes, by their places here in ascending order."""
        kept_F = np.repeat(np.isin(np.arange(len(self.lengths_E)), chosen), self.lengths_E)
        frames = {
            name: values.chosen(chosen) if isinstance(values, Pictures) else values[kept_F]
            for name, values in self.frames.items()
        }
        of_episodes = (self.lengths_E[chosen], self.seeds_E[chosen], self.episodes_E[chosen])
        return Demonstrations(self.about, frames, self.action_FA[kept_F], *of_episodes, self.said)

    def named(self, names: Mapping[str, Sequence[str]], who: str, first: str) -> Demonstrations:
        """The same with the numbers of groups and "action" in the order of `names`, as far as both name them; what was
        done is said of `who` and `first`. ValueError if they are other names."""
        order: dict[str, list[int]] = {}
        said = []
        for name in [*self.frames, "action"]:
            wanted, given = tuple(names.get(name, ())), self.about.names.get(name, ())
            if wanted == given:
                continue
            if not wanted or not given:
                said.append(f"{who}: only one of it and {first} names the numbers of {name}: taken in order")
            elif sorted(wanted) == sorted(given):
                order[name] = [given.index(each) for each in wanted]
                said.append(f"{who}: the numbers of {name} are put in the order of {first}")
            else:
                raise ValueError(
                    f"{who} calls the numbers of {name} {', '.join(given)}, {first} {', '.join(wanted)}: give "
                    "datasets of one robot"
                )
        frames = {n: values[:, order[n]] if n in order else values for n, values in self.frames.items()}
        action_FA = self.action_FA[:, order["action"]] if "action" in order else self.action_FA
        about = replace(self.about, names={**self.about.names, **{name: tuple(names[name]) for name in order}})
        return replace(self, about=about, frames=frames, action_FA=action_FA, said=(*self.said, *said))

    def succeeded(self, success_E: np.ndarray | None, where: Path) -> Demonstrations:
        """Those of the episodes of the set at `where` that succeeded, how many is said; all of them where that is
        unknown. ValueError if none did."""
        count = len(self.lengths_E)
        if success_E is None:
            return replace(
                self, said=(*self.said, f"all {count} episodes are used: the set does not say which succeeded")
            )
        if not success_E.any():
            raise ValueError(
                f"{where}: none of the {count} episodes succeeded: to imitate them all the same, say failed=true"
            )
        line = f"{success_E.sum()} of {count} episodes succeeded and are used"
        chosen = self.only(np.flatnonzero(success_E))
        return replace(chosen, said=(*self.said, line))


def together(parts: Sequence[Demonstrations]) -> Demonstrations:
    """All episodes of several datasets, one dataset after the other; it is about what the first is about.

    Numbers with the same names in another order are put in the order of the first, sentences get the numbers of one
    list. ValueError if another's actions, rate, groups or names are not those of the first.
    """
    first, parts = parts[0], [parts[0], *(_like(part, parts[0], k) for k, part in enumerate(parts[1:], 2))]
    tasks = tuple(dict.fromkeys(sentence for part in parts for sentence in part.about.tasks))
    frames = {}
    for name in first.frames:
        values = [part.frames[name] for part in parts]
        if name == TASK:
            numbers = [np.array([tasks.index(s) for s in part.about.tasks], np.int64) for part in parts]
            values = [number[value] for number, value in zip(numbers, values, strict=True)]
        joined = isinstance(values[0], Pictures)
        frames[name] = Pictures.joined(values) if joined else np.concatenate(values)
    return Demonstrations(
        replace(first.about, tasks=tasks),
        frames,
        np.concatenate([part.action_FA for part in parts]),
        np.concatenate([part.lengths_E for part in parts]),
        np.concatenate([part.seeds_E for part in parts]),
        np.concatenate([part.episodes_E for part in parts]),
        tuple(line for part in parts for line in part.said),
    )


def _like(part: Demonstrations, first: Demonstrations, number: int) -> Demonstrations:
    """`part` with its numbers in the order of `first`; ValueError if it is of another kind."""
    same: dict[str, tuple[Any, Any]] = {"actions": (first.about.action_size, part.about.action_size)}
    same["frames per second"] = (first.about.fps, part.about.fps)
    for name, values in first.frames.items():
        other = part.frames[name].shape[1:] if name in part.frames else None
        same[f"group {name}"] = (values.shape[1:], other)
        one, two = first.about.groups.get(name), part.about.groups.get(name)
        if one is not None and two is not None:
            same[f"group {name}, its unit"] = (one.unit, two.unit)
            same[f"group {name}, privileged or not"] = (one.privileged, two.privileged)
    for what, (wanted, given) in same.items():
        if wanted != given:
            raise ValueError(f"dataset {number} differs from the first in its {what}: {given}, not {wanted}")
    return part.named(first.about.names, f"dataset {number}", "the first dataset")

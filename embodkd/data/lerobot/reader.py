"""From a dataset folder to demonstrations, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core.config.registry import near
from embodkd.core.sources.group import GroupFacts
from embodkd.data.lerobot.cameras import pictures_of
from embodkd.data.lerobot.episodes import Episodes, finite, read_episodes
from embodkd.data.lerobot.groups import ACTION, Contents, Stored, by_task, contents
from embodkd.data.lerobot.info import Info, read_info, read_own
from embodkd.data.lerobot.layout import OWN_PATH, TASKS_PATH
from embodkd.data.lerobot.pictures import Memory, Pictures
from embodkd.data.lerobot.recording import TASK, About, Demonstrations
from embodkd.data.lerobot.statistics import check_statistics
from embodkd.data.lerobot.tables import read_columns, read_sentences

MEMORY_GB = 4.0


@dataclass(frozen=True)
class Reading:
    """What a user may say of datasets that do not say it themselves.

    keys: "action" or the name of a group -> the feature that holds it; image_size: (H, W) that pictures are resized to;
    known: the groups of a task, by which a dataset whose own facts were lost is taken apart; task: as from
    `task_record`, in place of the dataset's own.
    """

    keys: Mapping[str, str] | None = None
    image_size: tuple[int, int] | None = None
    known: Mapping[str, GroupFacts] | None = None
    task: Mapping[str, Any] | None = None


def about(folder: str | Path, reading: Reading = Reading()) -> About:
    """What can be read there, without reading it; ValueError if there is no dataset of this version, or it says of
    itself what cannot be."""
    return _Opened(Path(folder), reading).about


def read_dataset(
    folder: str | Path,
    groups: Sequence[str] | None = None,
    reading: Reading = Reading(),
    *,
    failed: bool = True,
    memory: Memory | None = None,
) -> Demonstrations:
    """The episodes of a dataset, with these observation groups (None: all that can be read).

    failed: also those that did not succeed, where it says so. memory: how much of decoded pictures is kept (None: 4
    GB); they are decoded when they are looked at, as an episode. A dataset without our own facts has the groups that
    its features are called by without "observation." and "observation.images.": "state", "front"...;
    "environment_state" is privileged. ValueError if it is missing, of another version, damaged, contradicts itself,
    or lacks a group.
    """
    opened = _Opened(Path(folder), reading)
    wanted = opened.chosen(tuple(opened.about.groups) if groups is None else groups)
    return opened.read(wanted, failed, memory or Memory(MEMORY_GB * 1e9))


class _Opened:
    """A dataset whose JSON was read."""

    def __init__(self, where: Path, reading: Reading) -> None:
        self.info: Info = read_info(where)
        self.own = read_own(where)
        found = contents(self.info, self.own, reading.keys or {}, reading.image_size)
        self.contents: Contents = found if reading.known is None else by_task(found, self.info, reading.known)
        self.sentences = read_sentences(where / TASKS_PATH) if "task_index" in self.info.features else ()
        if self.sentences and self.info.tasks not in (None, len(self.sentences)):
            raise ValueError(
                f"{self.info.file}: total_tasks is {self.info.tasks}, {TASKS_PATH} has {len(self.sentences)} "
                "sentences; fetch or write them anew"
            )
        self.about = self._about(reading.task)

    def chosen(self, groups: Sequence[str]) -> dict[str, Stored | None]:
        """These groups, None for the one of sentences; ValueError for one that there is not."""
        for name in groups:
            if name not in self.about.groups:
                feature = next((f for f in self.contents.left_out if name in (f, f.rpartition(".")[2])), None)
                why = f"{feature} cannot be read: {self.contents.left_out[feature]}" if feature else ""
                raise ValueError(
                    f"{self.info.where}: no observation group {name!r}: {why or near(name, self.about.groups)}"
                )
        return {name: self.contents.groups.get(name) for name in groups}

    def read(self, chosen: Mapping[str, Stored | None], failed: bool, memory: Memory) -> Demonstrations:
        """All frames with these groups."""
        info, action = self.info, self.contents.action
        wanted = {name: stored for name, stored in chosen.items() if stored is not None}
        cameras = {s.feature: s for s in wanted.values() if s.facts.is_image}
        videos = [name for name in cameras if info.features[name].dtype == "video"]
        episodes = read_episodes(info, videos, self.sentences)
        features = {s.feature for s in wanted.values() if not s.facts.is_image} | {action.name}
        columns = read_columns(info.where, "data", {name: info.features[name].size for name in sorted(features)})
        rows = {name: self._rows(name, columns[name], episodes) for name in columns}
        check_statistics(info.where, rows)
        frames: dict[str, np.ndarray | Pictures] = {}
        for name, stored in wanted.items():
            if stored.facts.is_image:
                frames[name] = pictures_of(info, stored, episodes, memory)
            else:
                part = rows[stored.feature][:, stored.start : stored.start + stored.facts.shape[0]]
                frames[name] = np.ascontiguousarray(part)
        if TASK in chosen:
            assert episodes.task_F is not None
            frames[TASK] = episodes.task_F.astype(np.int64)[:, None]
        seeds_E, success_E = self._own_episodes(episodes)
        count = len(episodes.length_E)
        whole = Demonstrations(
            self.about,
            frames,
            rows[action.name],
            episodes.length_E,
            seeds_E,
            np.arange(count),
            (*self._said(wanted), *episodes.said),
        )
        return whole if failed else whole.succeeded(success_E, info.where)

    def _rows(self, feature: str, values: np.ndarray, episodes: Episodes) -> np.ndarray:
        with np.errstate(over="ignore"):
            rows = values.reshape(len(values), -1).astype(np.float32)
        return finite(rows, episodes, self.info.where, feature)

    def _own_episodes(self, episodes: Episodes) -> tuple[np.ndarray, np.ndarray | None]:
        """(seeds, -1 where unknown; successes, None where they are) of the episodes."""
        count, own = len(episodes.length_E), self.own.get("episodes", [])
        if len(own) > count:
            raise ValueError(
                f"{self.info.where / OWN_PATH}: tells of {len(own)} episodes, {self.info.file} of {count}: it is not "
                "of this dataset; remove it"
            )
        seeds = [episode["seed"] for episode in own] + [-1] * (count - len(own))
        return np.array(seeds, np.int64), episodes.success_E

    def _said(self, wanted: Mapping[str, Stored]) -> tuple[str, ...]:
        """What of the dataset is not read, and why."""
        unread = [name for name in self.contents.groups if name not in wanted]
        lines = [f"not read: {', '.join(unread)}"] if unread else []
        if len(self.info.splits) > 1:
            lines.append(f"its parts {', '.join(self.info.splits)} are read as one; episodes are held out at random")
        lines += [f"{feature} cannot be read: {why}" for feature, why in self.contents.left_out.items()]
        return tuple(lines)

    def _about(self, task: Mapping[str, Any] | None) -> About:
        found = self.contents
        groups = {name: replace(stored.facts, names=_telling(name, stored)) for name, stored in found.groups.items()}
        if self.sentences:
            groups[TASK] = GroupFacts(TASK, (1,), False, "int64")
        names = {name: stored.names for name, stored in found.groups.items() if stored.names}
        if found.action.names:
            names[ACTION] = found.action.names
        observed = tuple(name for name, stored in found.groups.items() if stored.observed)
        task = dict(found.task if task is None else task)
        places = {name: (stored.feature, stored.start) for name, stored in found.groups.items()}
        places[ACTION] = (found.action.name, 0)
        return About(groups, found.action.size, self.info.fps, task, self.sentences, names, observed, places)


def _telling(name: str, stored: Stored) -> tuple[str, ...]:
    """The names of a group's numbers, () where they only count them, as we write them."""
    counted = tuple(f"{name}_{i}" for i in range(len(stored.names)))
    return () if stored.names == counted else stored.names

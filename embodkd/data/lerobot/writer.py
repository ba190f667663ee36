"""From recordings to a dataset folder, one episode at a time; the folder appears whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core.runs.files import atomic_folder, write_json
from embodkd.core.sources.group import GroupFacts
from embodkd.data.lerobot.layout import (
    CHUNK_SIZE,
    DATA_PATH,
    EPISODES_PATH,
    INFO_PATH,
    OWN_PATH,
    STATS_PATH,
    TASKS_PATH,
    VERSION,
    VIDEO_PATH,
    features_of,
    places_of,
)
from embodkd.data.lerobot.recording import Recording
from embodkd.data.lerobot.statistics import Stats, as_lists, merged, stats_of
from embodkd.data.lerobot.tables import arrow, instructions, rows_table, table_of, write_table
from embodkd.data.lerobot.video import VideoFile, codec

FRAMES_PER_FILE = 100_000


def write_dataset(
    folder: str | Path,
    episodes: Iterable[Recording],
    groups: Mapping[str, Any],
    *,
    fps: float,
    task: Mapping[str, Any],
    robot_type: str = "",
) -> Path:
    """Write a new dataset folder and return its path.

    groups: facts of the groups to store, such as a task's own; vectors and colour cameras can be (see `places_of`).
    task: as from `task_record`; its "name" is the instruction that LeRobot wants with every frame. Episodes are taken
    one by one, so they may come from a generator. ValueError if the folder exists or a recording does not fit.
    """
    where = Path(folder)
    if where.exists():
        raise ValueError(f"{where}: exists; a dataset is written into a new folder: choose another name or remove it")
    stored = {name: GroupFacts.of(group) for name, group in groups.items()}
    with atomic_folder(where) as aside:
        with ExitStack() as files:
            writer = _Writer(aside, stored, fps, dict(task), files)
            for number, episode in enumerate(episodes):
                writer.add(_checked(episode, stored, f"{where}: episode {number}"))
        if not writer.rows:
            raise ValueError(f"{where}: no episodes; nothing was written")
        writer.finish(robot_type)
    return where


class _Writer:
    """What is open and what is known so far. `files` closes the data and video files of the number at hand."""

    def __init__(
        self, folder: Path, groups: Mapping[str, GroupFacts], fps: float, task: Mapping[str, Any], files: ExitStack
    ) -> None:
        self._folder, self._groups, self._fps, self._task, self._files = folder, groups, fps, task, files
        self._places = places_of(groups)
        self._cameras = {name: place.feature for name, place in self._places.items() if groups[name].is_image}
        self._videos: dict[str, VideoFile] = {}
        self._table: Any = None
        self._file, self._first_frame, self._frames = -1, 0, 0
        self._action_size = 0
        self._stats: list[dict[str, Stats]] = []
        self._own: list[dict[str, Any]] = []
        self._sentences: dict[str, int] = {}
        self.rows: list[dict[str, Any]] = []

    def add(self, episode: Recording) -> None:
        """Append one episode."""
        columns = self._columns(episode)
        pictures = {feature: episode.groups[name] for name, feature in self._cameras.items()}
        if self._table is None or self._frames - self._first_frame >= FRAMES_PER_FILE:
            self._next_file(columns)
        length, numbers = len(episode.action), self._numbers()
        row: dict[str, Any] = {
            "episode_index": len(self.rows),
            "length": length,
            "tasks": sorted(set(self._said(episode)), key=self._sentences.__getitem__),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            **{f"data/{key}": number for key, number in numbers.items()},
        }
        self._table.write_table(table_of(columns))
        for feature, frames in pictures.items():
            video = self._videos[feature]
            row |= {f"videos/{feature}/{key}": number for key, number in numbers.items()}
            row[f"videos/{feature}/from_timestamp"] = video.frames / self._fps
            video.add(frames)
            row[f"videos/{feature}/to_timestamp"] = video.frames / self._fps
        self._stats.append({name: stats_of(values) for name, values in {**columns, **pictures}.items()})
        self._own.append({"seed": int(episode.seed), "success": bool(episode.success)})
        self._action_size = episode.action.shape[1]
        self._frames += length
        self.rows.append(row)

    def finish(self, robot_type: str) -> None:
        """Write the folder meta/; all other files are closed."""
        for row, stats in zip(self.rows, map(as_lists, self._stats), strict=True):
            row |= {f"stats/{feature}/{k}": value for feature, own in stats.items() for k, value in own.items()}
        write_table(self._folder / TASKS_PATH, instructions(list(self._sentences)))
        write_table(self._folder / EPISODES_PATH, rows_table(self.rows))
        together = {name: merged([stats[name] for stats in self._stats]) for name in self._stats[0]}
        write_json(self._folder / STATS_PATH, as_lists(together))
        write_json(self._folder / INFO_PATH, self._info(robot_type))
        groups = [
            {"name": name, **group.as_dict(), **self._places[name]._asdict()} for name, group in self._groups.items()
        ]
        write_json(self._folder / OWN_PATH, {"task": self._task, "groups": groups, "episodes": self._own})

    def _info(self, robot_type: str) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": robot_type,
            "total_episodes": len(self.rows),
            "total_frames": self._frames,
            "total_tasks": len(self._sentences),
            "chunks_size": CHUNK_SIZE,
            # Its own writer's limits; ours counts frames instead.
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": int(self._fps) if float(self._fps).is_integer() else self._fps,
            "splits": {"train": f"0:{len(self.rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._cameras else None,
            "features": features_of(self._groups, self._action_size, self._fps, codec(), self._task),
        }

    def _said(self, episode: Recording) -> list[str]:
        """The sentence of each step; new ones get the next number."""
        tasks = str(self._task.get("name", "")) if episode.tasks is None else episode.tasks
        said = [tasks] * len(episode.action) if isinstance(tasks, str) else list(tasks)
        for sentence in said:
            self._sentences.setdefault(sentence, len(self._sentences))
        return said

    def _columns(self, episode: Recording) -> dict[str, np.ndarray]:
        """The rows of one episode in LeRobot's columns, pictures left out."""
        vectors: dict[str, list[np.ndarray]] = {}
        for name, place in self._places.items():
            if name not in self._cameras:
                vectors.setdefault(place.feature, []).append(episode.groups[name])
        frame = np.arange(len(episode.action))
        last = frame == frame[-1]
        return {
            **{feature: np.concatenate(parts, axis=1, dtype=np.float32) for feature, parts in vectors.items()},
            "action": episode.action.astype(np.float32),
            "next.reward": episode.reward.astype(np.float32),
            "next.success": last & bool(episode.success),
            "next.done": last,
            "timestamp": (frame / self._fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full_like(frame, len(self.rows)),
            "index": self._frames + frame,
            "task_index": np.array([self._sentences[sentence] for sentence in self._said(episode)]),
        }

    def _next_file(self, columns: Mapping[str, np.ndarray]) -> None:
        """Close the files at hand and open the next ones, of one number for all features."""
        self._files.close()
        self._file, self._first_frame = self._file + 1, self._frames
        path = self._folder / DATA_PATH.format(**self._numbers())
        path.parent.mkdir(parents=True, exist_ok=True)
        self._table = self._files.enter_context(arrow().parquet.ParquetWriter(path, table_of(columns).schema))
        for name, feature in self._cameras.items():
            video = self._folder / VIDEO_PATH.format(video_key=feature, **self._numbers())
            self._videos[feature] = VideoFile(video, self._fps, *self._groups[name].shape[1:])
            self._files.callback(self._videos[feature].close)

    def _numbers(self) -> dict[str, int]:
        return {"chunk_index": self._file // CHUNK_SIZE, "file_index": self._file % CHUNK_SIZE}


def _checked(episode: Recording, groups: Mapping[str, GroupFacts], where: str) -> Recording:
    """The episode, or a ValueError that says what does not fit."""
    if episode.action.ndim != 2 or not len(episode.action):
        raise ValueError(f"{where}: its actions must be (T, A) with T > 0, got {episode.action.shape}")
    length = len(episode.action)
    given = {**episode.groups, "reward": episode.reward, "action": episode.action}
    wanted = {name: (length, *group.shape) for name, group in groups.items()} | {"reward": (length,)}
    for name, shape in wanted.items():
        found = given[name].shape if name in given else None
        if found != shape:
            raise ValueError(f"{where}: {name} has shape {found}, {shape} was expected")
    if episode.tasks is not None and not isinstance(episode.tasks, str) and len(episode.tasks) != length:
        raise ValueError(f"{where}: {len(episode.tasks)} sentences for {length} steps; give one, or one for each step")
    for name in (*wanted, "action"):
        if not np.isfinite(given[name]).all():
            raise ValueError(f"{where}: {name} is not finite everywhere; leave the episode out")
    return episode

"""From a dataset folder to demonstrations in memory, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core.config.registry import near
from embodkd.core.runs.files import read_json
from embodkd.core.sources.group import GroupFacts
from embodkd.data.lerobot.layout import CAMERA, INFO_PATH, OWN_PATH, SECRETS, VERSION, VIDEO_PATH, Place
from embodkd.data.lerobot.recording import About, Demonstrations
from embodkd.data.lerobot.tables import read_columns
from embodkd.data.lerobot.video import frames_of


def about(folder: str | Path) -> About:
    """What can be read there, without reading it; ValueError if there is no dataset of this version."""
    info, own = _facts(Path(folder))
    groups = {name: group for name, (group, _) in _stored(info, own).items()}
    return About(groups, int(np.prod(info["features"]["action"]["shape"])), float(info["fps"]), own.get("task", {}))


def read_dataset(folder: str | Path, groups: Sequence[str] | None = None) -> Demonstrations:
    """All episodes of a dataset, with these observation groups (None: all that can be read).

    Videos are decoded at once into bytes, so name the cameras that you need. A dataset without meta/embodkd.json has
    the groups that its features are called by without "observation." and "observation.images.": "state", "front"...;
    "environment_state" is privileged. ValueError if it is missing, of another version, damaged, or lacks a group.
    """
    where = Path(folder)
    info, own = _facts(where)
    known = _stored(info, own)
    for name in groups or ():
        if name not in known:
            raise ValueError(f"{where}: no observation group {name!r}: {near(name, known)}")
    wanted = {name: known[name] for name in (known if groups is None else groups)}
    vectors = {place.feature for group, place in wanted.values() if not group.is_image}
    cameras = {place.feature for group, place in wanted.values() if group.is_image}
    columns = read_columns(where, "data", ["action", "episode_index", *sorted(vectors)])
    episodes = _episodes(where, info, columns["episode_index"], sorted(cameras))
    count = info["total_frames"]
    frames = {}
    for name, (group, place) in wanted.items():
        if group.is_image:
            frames[name] = _decoded(where, group, place.feature, episodes, info)
        else:
            rows = columns[place.feature].reshape(count, -1)[:, place.start : place.start + group.shape[0]]
            frames[name] = np.ascontiguousarray(rows, np.float32)
    seeds = [episode["seed"] for episode in own.get("episodes", [])] or [-1] * info["total_episodes"]
    actions = columns["action"].reshape(count, -1).astype(np.float32)
    return Demonstrations(about(where), frames, actions, episodes["length"], np.array(seeds, np.int64))


def _facts(where: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """LeRobot's facts of the dataset and ours, {} if it was not written here."""
    return _info(where), read_json(where / OWN_PATH) if (where / OWN_PATH).is_file() else {}


def _stored(info: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, tuple[GroupFacts, Place]]:
    return _own_groups(own) if own else _foreign_groups(info["features"])


def _info(where: Path) -> dict[str, Any]:
    if not (where / INFO_PATH).is_file():
        raise ValueError(
            f"{where}: no LeRobot dataset there ({INFO_PATH} is missing); give the folder that holds meta/"
        )
    info: dict[str, Any] = read_json(where / INFO_PATH)
    version = str(info.get("codebase_version"))
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        raise ValueError(
            f"{where}: a LeRobot dataset {version}, {VERSION} is read; convert it with lerobot's own script"
        )
    for key in ("features", "fps", "total_frames", "total_episodes"):
        if key not in info:
            raise ValueError(f"{where / INFO_PATH}: lacks {key!r}; damaged: fetch or write it anew")
    if "action" not in info["features"]:
        raise ValueError(f"{where}: has no feature 'action': there is nothing to imitate")
    return info


def _own_groups(own: Mapping[str, Any]) -> dict[str, tuple[GroupFacts, Place]]:
    found = {}
    for facts in own["groups"]:
        place = Place(facts["feature"], facts["start"])
        rest = {k: v for k, v in facts.items() if k not in Place._fields}
        found[facts["name"]] = (GroupFacts(**{**rest, "shape": tuple(facts["shape"])}), place)
    return found


def _foreign_groups(features: Mapping[str, Any]) -> dict[str, tuple[GroupFacts, Place]]:
    """A group for every observation that is a vector of numbers or a video."""
    found = {}
    for feature, facts in features.items():
        shape = tuple(facts["shape"])
        name = feature.removeprefix(CAMERA).removeprefix("observation.")
        if not feature.startswith("observation."):
            continue
        if facts["dtype"] == "video":
            # most say (height, width, channels), some channels first
            height, width, channels = shape[1:] + shape[:1] if shape[0] == 3 else shape
            picture = (channels, height, width)
            found[name] = (GroupFacts(name, picture, False, "uint8"), Place(feature, 0))
        elif str(facts["dtype"]).startswith(("float", "int")) and len(shape) == 1:
            found[name] = (GroupFacts(name, shape, feature == SECRETS), Place(feature, 0))
    return found


def _episodes(
    where: Path, info: Mapping[str, Any], episode_F: np.ndarray, cameras: Sequence[str]
) -> dict[str, np.ndarray]:
    """The table of episodes; ValueError unless it and the frames are as many as they should be."""
    keys = ("chunk_index", "file_index", "from_timestamp")
    wanted = ["episode_index", "length", *(f"videos/{feature}/{key}" for feature in cameras for key in keys)]
    rows = read_columns(where, "meta/episodes", wanted)
    count, frames = info["total_episodes"], info["total_frames"]
    if len(episode_F) != frames or not np.array_equal(rows["episode_index"], np.arange(count)):
        raise ValueError(
            f"{where}: {len(episode_F)} frames and {len(rows['length'])} episodes are there, {INFO_PATH} says {frames} "
            f"and {count}; the dataset is not complete, fetch or write it anew"
        )
    if not np.array_equal(episode_F, np.repeat(np.arange(count), rows["length"])):
        raise ValueError(f"{where}: the frames do not fit the lengths in meta/episodes; fetch or write it anew")
    return rows


def _decoded(
    where: Path, group: GroupFacts, feature: str, episodes: Mapping[str, np.ndarray], info: Mapping[str, Any]
) -> np.ndarray:
    """All frames of a camera, (F, C, H, W): each file is read once, from its beginning to its end."""
    pictures = np.empty((info["total_frames"], *group.shape), np.uint8)
    lengths = episodes["length"]
    starts = np.cumsum(lengths) - lengths
    files = np.stack([episodes[f"videos/{feature}/{key}"] for key in ("chunk_index", "file_index")], axis=1)
    first = np.rint(episodes[f"videos/{feature}/from_timestamp"] * info["fps"]).astype(int)
    template = info.get("video_path") or VIDEO_PATH
    for chunk, file in np.unique(files, axis=0):
        inside = np.flatnonzero((files == (chunk, file)).all(axis=1))
        path = where / template.format(video_key=feature, chunk_index=chunk, file_index=file)
        target: dict[int, int] = {}  # frame in the file -> frame of the dataset
        for e in inside:
            target.update(zip(first[e] + np.arange(lengths[e]), starts[e] + np.arange(lengths[e]), strict=True))
        for number, picture in enumerate(frames_of(path)):
            if number in target:
                pictures[target.pop(number)] = picture
        if target:
            raise ValueError(f"{path}: ends {len(target)} frames too early; damaged: fetch or write it anew")
    return pictures

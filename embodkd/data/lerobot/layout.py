"""The layout of LeRobotDataset v3.0: where files lie, how features are called, and which group is stored in which.

meta/info.json, stats.json, tasks.parquet, episodes/chunk-000/file-000.parquet, embodkd.json (ours)
data/chunk-000/file-000.parquet                          one row per frame, many episodes per file
videos/observation.images.front_rgb/chunk-000/file-000.mp4
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from embodkd.core.sources.group import GroupFacts

VERSION = "v3.0"
CHUNK_SIZE = 1000  # files per folder
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{FILE}.parquet"
VIDEO_PATH = "videos/{video_key}/" + f"{FILE}.mp4"
EPISODES_PATH = "meta/episodes/chunk-000/file-000.parquet"
TASKS_PATH = "meta/tasks.parquet"
INFO_PATH, STATS_PATH, OWN_PATH = "meta/info.json", "meta/stats.json", "meta/embodkd.json"

STATE, SECRETS, CAMERA = "observation.state", "observation.environment_state", "observation.images."
INDICES = {name: "int64" for name in ("frame_index", "episode_index", "index", "task_index")}
OUTCOMES = {"next.reward": "float32", "next.success": "bool", "next.done": "bool"}


class Place(NamedTuple):
    """Where a group is stored: in this feature, from this column on (0 for a picture)."""

    feature: str
    start: int


def places_of(groups: Mapping[str, GroupFacts]) -> dict[str, Place]:
    """A place for each group: deployable vectors joined in one feature, privileged ones in another, a video per camera.

    ValueError for a group that is neither a vector nor a colour picture with even sides (what yuv420p can hold).
    """
    found: dict[str, Place] = {}
    width = {STATE: 0, SECRETS: 0}
    for name, group in groups.items():
        if group.is_image:
            if len(group.shape) != 3 or group.shape[0] != 3 or group.shape[1] % 2 or group.shape[2] % 2:
                raise ValueError(
                    f"group {name!r} of shape {group.shape} cannot be stored as a video: only colour pictures "
                    "(3, H, W) with even sides can; leave it out or choose another image size"
                )
            found[name] = Place(CAMERA + name, 0)
            continue
        if len(group.shape) != 1:
            raise ValueError(f"group {name!r} of shape {group.shape} is neither a vector nor a picture; leave it out")
        feature = SECRETS if group.privileged else STATE
        found[name] = Place(feature, width[feature])
        width[feature] += group.shape[0]
    return found


def features_of(
    groups: Mapping[str, GroupFacts], action_size: int, fps: float, codec: str, task: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The part "features" of info.json. Facts of our own also lie in each feature's "info", since lerobot's tools copy
    the features when they edit a dataset, and drop files that they do not know."""
    features: dict[str, dict[str, Any]] = {}
    names: dict[str, list[str]] = {}
    for name, place in places_of(groups).items():
        group = groups[name]
        if group.is_image:
            features[place.feature] = _video(group, fps, codec)
        else:
            names.setdefault(place.feature, []).extend(f"{name}_{i}" for i in range(group.shape[0]))
    for feature, columns in {**names, "action": [f"action_{i}" for i in range(action_size)]}.items():
        features[feature] = {"dtype": "float32", "shape": [len(columns)], "names": columns}
    for name, place in places_of(groups).items():
        facts = {**vars(groups[name]), "shape": list(groups[name].shape), "start": place.start}
        own = features[place.feature].setdefault("info", {}).setdefault("embodkd", {"groups": []})
        own["groups"].append(facts)
    features["action"]["info"] = {"embodkd": {"task": dict(task)}}
    for feature, dtype in {**OUTCOMES, "timestamp": "float32", **INDICES}.items():
        features[feature] = {"dtype": dtype, "shape": [1], "names": None}
    return features


def _video(group: GroupFacts, fps: float, codec: str) -> dict[str, Any]:
    channels, height, width = group.shape
    return {
        "dtype": "video",
        "shape": [height, width, channels],
        "names": ["height", "width", "channels"],
        "info": {
            "video.fps": fps,
            "video.height": height,
            "video.width": width,
            "video.channels": channels,
            "video.codec": codec,
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "has_audio": False,
        },
    }

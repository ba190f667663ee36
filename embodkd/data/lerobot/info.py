"""What a dataset says of itself in JSON, held to its form before any of it is believed: a complaint names file and
field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embodkd.core.runs.reading import read_json
from embodkd.data.lerobot.layout import INFO_PATH, OWN_PATH, VERSION, VIDEO_PATH

MEND = "damaged: fetch or write it anew"
_NAME = re.compile(r"[\w-][\w. -]*")


@dataclass(frozen=True)
class Feature:
    """One column, or one camera.

    names: what each of its numbers is called, or () where that is not said; axes: the same list where it names the axes
    instead; facts: what else is said of it, such as a codec.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    axes: tuple[str, ...]
    facts: Mapping[str, Any]

    @property
    def size(self) -> int:
        """How many numbers it has in each frame."""
        return math.prod(self.shape)

    @property
    def is_camera(self) -> bool:
        """Whether it is made of pictures."""
        return self.dtype in ("video", "image")

    @property
    def is_depth(self) -> bool:
        """Whether its pictures are distances."""
        return any(bool(self.facts.get(key)) for key in ("is_depth_map", "video.is_depth_map"))


@dataclass(frozen=True)
class Info:
    """meta/info.json: frames per second, how many episodes, frames and sentences (None: unsaid) there should be, the
    features by name, where videos lie, and the names of parts that it is split into."""

    where: Path
    fps: float
    episodes: int
    frames: int
    features: Mapping[str, Feature]
    video_path: str
    tasks: int | None
    splits: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The file itself."""
        return self.where / INFO_PATH


def read_info(where: Path) -> Info:
    """The facts of the dataset in that folder; ValueError if there is none of this version or a field is wrong."""
    file = where / INFO_PATH
    if not file.is_file():
        raise ValueError(
            f"{where}: no LeRobot dataset there ({INFO_PATH} is missing); give the folder that holds meta/"
        )
    said = _Fields(file, read_json(file))
    version = said.take("codebase_version", _is_text, "a text such as v3.0")
    if version.partition(".")[0] != VERSION.partition(".")[0]:
        raise ValueError(
            f"{where}: a LeRobot dataset {version}, {VERSION} is read; convert it with lerobot's own script"
        )
    features = said.take("features", _is_mapping, "a mapping of features")
    episodes, frames = (said.take(f"total_{what}", _is_count, "a whole number") for what in ("episodes", "frames"))
    if not episodes or not frames:
        raise ValueError(f"{where}: an empty dataset ({episodes} episodes, {frames} frames): there is nothing to learn")
    video_path = said.take("video_path", lambda v: v is None or _is_text(v), "a text", None) or VIDEO_PATH
    try:
        video_path.format(video_key="", chunk_index=0, file_index=0)
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file}: video_path {video_path!r} is no pattern of a file's name ({error}); {MEND}"
        ) from error
    return Info(
        where,
        float(said.take("fps", lambda v: _is_number(v) and v > 0, "a positive number")),
        episodes,
        frames,
        {name: _feature(file, name, facts) for name, facts in features.items()},
        video_path,
        said.take("total_tasks", lambda v: v is None or _is_count(v), "a whole number", None),
        tuple(map(str, said.take("splits", lambda v: v is None or _is_mapping(v), "a mapping", None) or {})),
    )


def read_own(where: Path) -> Mapping[str, Any]:
    """meta/embodkd.json: {"task", "groups", "episodes"}, checked; {} where there is none."""
    file = where / OWN_PATH
    if not file.is_file():
        return {}
    said = _Fields(file, read_json(file))
    for group in said.take("groups", _is_list_of_mappings, "a list of groups"):
        check_group(file, group)
    for episode in said.take("episodes", _is_list_of_mappings, "a list of episodes", []):
        _Fields(file, episode, "episodes.").take("seed", _is_whole, "a whole number")
    check_task(file, said.take("task", _is_mapping, "a mapping", {}))
    return said.content


def check_group(file: Path, group: Mapping[str, Any]) -> None:
    """ValueError unless these are facts of a group and of where it lies."""
    said = _Fields(file, group, "groups.")
    for key in ("name", "feature", "dtype"):
        said.take(key, _is_text, "a text")
    said.take("unit", lambda v: isinstance(v, str), "a text", "")
    said.take("privileged", lambda v: isinstance(v, bool), "true or false")
    said.take("shape", _is_shape, "a list of whole numbers")
    said.take("start", _is_count, "a whole number")


def check_task(file: Path, task: Mapping[str, Any]) -> None:
    """ValueError unless this is a task's record, whose name may become part of a folder's; {} is none."""
    if not task:
        return
    said = _Fields(file, task, "task.")
    said.take("name", lambda v: _is_text(v) and _NAME.fullmatch(v) is not None, "letters, digits, spaces, - and _")
    said.take("version", lambda v: v is None or (_is_count(v) and v > 0), "a whole number from 1", None)
    said.take("engine", lambda v: v is None or _is_text(v), "a text", None)
    said.take("options", _is_mapping, "a mapping", {})
    said.take("control_hz", lambda v: v is None or (_is_number(v) and v > 0), "a positive number", None)


def read_mapping(file: Path) -> Mapping[str, Any]:
    """What a file in JSON holds; ValueError if it cannot be read, or holds something else."""
    content: Mapping[str, Any] = _Fields(file, read_json(file)).content
    return content


class _Fields:
    """A mapping out of a file, whose fields are named when they are not as they should be."""

    def __init__(self, file: Path, content: Any, inside: str = "") -> None:
        if not isinstance(content, Mapping):
            raise ValueError(f"{file}: {inside.rstrip('.') or 'it'} is not a mapping; {MEND}")
        self.file, self.content, self.inside = file, content, inside

    def take(self, key: str, fits: Callable[[Any], bool], spelt: str, *default: Any) -> Any:
        """The field, or the default; ValueError if it is missing or `fits` refuses it."""
        if key not in self.content and not default:
            raise ValueError(f"{self.file}: lacks {self.inside}{key}, {spelt}; {MEND}")
        value = self.content.get(key, *default)
        if not fits(value):
            raise ValueError(f"{self.file}: {self.inside}{key} must be {spelt}, not {_short(value)}; {MEND}")
        return value


def _feature(file: Path, name: str, facts: Any) -> Feature:
    said = _Fields(file, facts, f"features.{name}.")
    shape = tuple(said.take("shape", _is_shape, "a list of positive whole numbers")) or (1,)
    dtype = said.take("dtype", _is_text, "a text")
    names = _names(said.take("names", lambda v: True, "names", None))
    size = math.prod(shape)
    # Some call the only axis by its name where others call the numbers on it; pictures always do.
    one_axis = len(names) == len(shape) and (len(names) != size or dtype in ("video", "image"))
    if names and len(names) != size and not one_axis and len(shape) == 1:
        raise ValueError(f"{file}: features.{name}.names has {len(names)} names for {size} numbers; {MEND}")
    rest = said.take("info", lambda v: v is None or _is_mapping(v), "a mapping", None)
    rest = rest or said.take("video_info", lambda v: v is None or _is_mapping(v), "a mapping", None)
    fitting = len(names) == size and not one_axis and len(set(names)) == size
    return Feature(name, dtype, shape, names if fitting else (), names if one_axis else (), rest or {})


def _names(said: Any) -> tuple[str, ...]:
    """In any of the ways that people write them: a list, {"motors": a list}, {name: its place}; () for all else."""
    if isinstance(said, Mapping):
        values = list(said.values())
        if len(values) == 1 and isinstance(values[0], list):
            return _names(values[0])
        if values and sorted(map(str, values)) == sorted(map(str, range(len(values)))):
            return tuple(sorted(map(str, said), key=lambda key: int(said[key])))
        return ()
    if isinstance(said, list) and len(said) == 1 and isinstance(said[0], list):
        said = said[0]
    return tuple(map(str, said)) if isinstance(said, list) and all(isinstance(s, str) for s in said) else ()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_list_of_mappings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 0


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 5 and all(_is_whole(n) and 0 < n < 2**31 for n in value)

"""Ways in which a dataset can contradict itself and what is said of each: name -> (what to do to a folder, message)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import so101

pa = pytest.importorskip("pyarrow", reason="needs pyarrow (extra: lerobot)")

Fault = Callable[[Path], object]
DATA, EPISODES, TASKS = (
    "data/chunk-000/file-000.parquet",
    "meta/episodes/chunk-000/file-000.parquet",
    "meta/tasks.parquet",
)
FRONT, WRIST = (f"observation.images.{camera}" for camera in so101.CAMERAS)
VIDEO = f"videos/{FRONT}/chunk-000/file-000.mp4"
STATS = "meta/stats.json"
LENGTHS = (6, 5)


def said(**fields: Any) -> Fault:
    """Other fields in info.json; ... takes one out."""

    def change(info: dict) -> None:
        for key, value in fields.items():
            if value is ...:
                del info[key]
            else:
                info[key] = value

    return lambda folder: so101.edit_info(folder, change)


def feature(name: str, **fields: Any) -> Fault:
    """Other facts of a feature; ... takes one out."""

    def change(info: dict) -> None:
        info["features"][name] |= {key: value for key, value in fields.items() if value is not ...}
        for key in [key for key, value in fields.items() if value is ...]:
            del info["features"][name][key]

    return lambda folder: so101.edit_info(folder, change)


def column(name: str, change: Callable[[list], object], kind: Any = None) -> Fault:
    """Other values in a column of the frames."""

    def edited(table: Any) -> Any:
        values = table[name].to_pylist()
        return so101.column(table, name, change(values) or values, kind)

    return lambda folder: so101.edit_table(folder, edited)


def rows(change: Callable[[list[dict]], Any], name: str = EPISODES) -> Fault:
    return lambda folder: so101.edit_rows(folder, change, name)


def table(change: Callable[[Any], Any]) -> Fault:
    return lambda folder: so101.edit_table(folder, change)


def stats(name: str, **ends: list) -> Fault:
    """A file of statistics that says this of a feature, and of the other end of its range nothing that is wrong."""
    said = {"min": [-200.0] * 6, "max": [200.0] * 6, **ends}
    return lambda folder: (folder / STATS).write_text(json.dumps({name: said}))


def own(text: str) -> Fault:
    return lambda folder: (folder / "meta/embodkd.json").write_text(text)


def put(at: int, value: Any) -> Callable[[list], object]:
    return lambda values: values.__setitem__(at, value)


def each(**fields: Any) -> Callable[[list[dict]], object]:
    return lambda found: [row.update(fields) for row in found]


def cut(name: str, share: float) -> Fault:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return change


def other_film(**options: Any) -> Fault:
    def change(folder: Path) -> None:
        lengths = options.get("lengths", LENGTHS)
        pictures = so101.pictures("front", lengths, options.get("size", (so101.HEIGHT, so101.WIDTH)))
        so101.film(folder / VIDEO, pictures, "libx264", options.get("fps", so101.FPS))

    return change


def unlink(name: str) -> Fault:
    return lambda folder: (folder / name).unlink()


def without_a_row(folder: Path) -> None:
    """The third frame of the first episode is taken out, and all is counted anew but the times."""
    so101.edit_table(folder, lambda t: pa.concat_tables([t.slice(0, 2), t.slice(3)]))
    so101.edit_table(folder, lambda t: so101.column(t, "frame_index", [*range(5), *range(5)]))
    so101.edit_rows(folder, lambda found: found[0].update(length=5))
    said(total_frames=10)(folder)


def as_folder(folder: Path) -> None:
    (folder / "meta/info.json").unlink()
    (folder / "meta/info.json").mkdir()


HUGE = 10**9
NAN = float("nan")
BEGIN, END = (f"videos/{FRONT}/{end}_timestamp" for end in ("from", "to"))


def groups(size: int, feature: str, **more: Any) -> str:
    """meta/embodkd.json with one group."""
    group = {"name": "proprio", "shape": [size], "privileged": False, "dtype": "float32", "unit": "", "start": 0}
    return json.dumps({"groups": [{**group, "feature": feature}], **more})


BROKEN: dict[str, tuple[Fault, str]] = {
    "feature without shape": (feature("observation.state", shape=...), r"lacks features.observation.state.shape"),
    "feature without dtype": (feature("action", dtype=...), r"info.json: lacks features.action.dtype"),
    "shape of words": (feature("action", shape=["six"]), r"action.shape must be a list of positive"),
    "shape below zero": (feature("action", shape=[-6]), r"features.action.shape must be"),
    "features as a list": (said(features=["action"]), r"features must be a mapping"),
    "feature as a number": (said(features={"action": 6}), r"features.action is not a mapping"),
    "no features": (said(features=...), r"lacks features"),
    "fps null": (said(fps=None), r"fps must be a positive number, not None"),
    "fps zero": (said(fps=0), r"fps must be a positive number, not 0"),
    "fps as text": (said(fps="30"), r"fps must be a positive number, not '30'"),
    "fps of another rate": (said(fps=20), r"timestamp steps by 0.0333\d* s in data/, .*fps 20"),
    "a billion frames": (said(total_frames=HUGE), r"11 frames and 2 episodes are there, .* 1000000000"),
    "a billion episodes": (said(total_episodes=HUGE), r"2 episodes are there, meta/info.json says 11 and 1000000000"),
    "episodes as text": (said(total_episodes="2"), r"total_episodes must be a whole number"),
    "an empty set": (said(total_episodes=0, total_frames=0), r"an empty dataset"),
    "no version": (said(codebase_version=...), r"lacks codebase_version"),
    "an older version": (said(codebase_version="v2.1"), r"v2.1, v3.0 is read"),
    "a pattern that is none": (said(video_path="videos/{camera}.mp4"), r"video_path .* is no pattern"),
    "a pattern that leads out": (said(video_path="../{video_key}.mp4"), r"would lie outside of the dataset"),
    "info that is no JSON": (cut("meta/info.json", 0.5), r"info.json: not valid JSON"),
    "info that is a folder": (as_folder, r"info.json is missing"),
    "info narrower than the table": (feature("action", shape=[4], names=None), r"has 6 numbers per row, .* says 4"),
    "info wider than the table": (
        feature("observation.state", shape=[HUGE], names=None),
        r"6 numbers per row, .*1000000000",
    ),
    "more names than numbers": (feature("action", names=list("abcdefg")), r"action.names has 7 names for 6"),
    "actions of text": (feature("action", dtype="string"), r"features.action is of dtype string: actions are numbers"),
    "no actions": (lambda f: so101.edit_info(f, lambda i: i["features"].pop("action")), r"no feature 'action'"),
    "NaN in an action": (
        column("action", put(7, [NAN] * 6)),
        r"arm: action is not finite in episode 1, frame 1 \(1 such",
    ),
    "infinite state": (column("observation.state", put(0, [np.inf] * 6)), r"state is not finite in episode 0, frame 0"),
    "NaN in a time": (column("timestamp", put(3, NAN)), r"timestamp is not finite in episode 0, frame 3"),
    "rows of two lengths": (
        column("action", put(4, [1.0, 2.0]), pa.list_(pa.float32())),
        r"'action': row 4 has another count of numbers",
    ),
    "an empty row": (column("action", put(4, None), pa.list_(pa.float32())), r"'action': row 4 is empty"),
    "an empty number": (column("observation.state", put(2, [None] * 6), pa.list_(pa.float32())), r"row 2 is empty"),
    "text in a column of numbers": (column("timestamp", lambda v: list(map(str, v)), pa.string()), r"holds string"),
    "rows in another order": (table(lambda t: t.take(list(range(11))[::-1])), r"row 0 is of episode 1"),
    "two rows changed over": (table(lambda t: t.take([0, 2, 1, *range(3, 11)])), r"frame 1: frame_index is 2 after 0"),
    "indices that do not grow": (column("index", lambda v: [0] * 11), r"row 1: index is 0 after 0"),
    "a row too few": (table(lambda t: t.slice(1)), r"10 frames and 2 episodes are there"),
    "a row out of the middle": (
        without_a_row,
        r"episode 0, frame 2: timestamp is 0.1 s after",
    ),
    "lengths of another set": (rows(each(length=3)), r"length: the episodes have 6 frames in all, 11 are in data/"),
    "a length of a billion": (rows(each(length=HUGE)), r"length: the episodes have"),
    "a length below zero": (rows(lambda found: [found[0].update(length=-1), found[1].update(length=12)]), r"length: "),
    "more sentences than there are": (said(total_tasks=3), r"total_tasks is 3, meta/tasks.parquet has 2 sentences"),
    "fewer pictures than frames": (
        rows(lambda found: found[0].update({END: 0.1})),
        r"episode 0 has frames until 0.1667 s, .* only 0.1 s of observation.images.front",
    ),
    "a row where another episode begins": (
        rows(lambda found: found[1].update(dataset_from_index=5)),
        r"meta/episodes: dataset_from_index of episode 1 is 5, by the lengths it is 6",
    ),
    "a row where another episode ends": (rows(each(dataset_to_index=11)), r"dataset_to_index of episode 0 is 11"),
    "statistics of other frames": (stats("action", max=[0.0] * 6), r"meta/stats.json: action number \d goes from"),
    "statistics of fewer numbers": (stats("observation.state", min=[0.0]), r"observation.state.min: must be 6"),
    "statistics of words": (stats("action", max=["a"] * 6), r"stats.json: action.max: is no list of numbers"),
    "statistics that are no mapping": (lambda f: (f / STATS).write_text("[]"), r"stats.json: it is not a mapping"),
    "statistics that are no JSON": (lambda f: (f / STATS).write_text("{"), r"stats.json: not valid JSON"),
    "an episode twice": (rows(each(episode_index=0)), r"episode_index does not count from 0 to 1"),
    "a sentence that is not there": (column("task_index", put(2, 7)), r"frame 2: task_index is 7, .* has 2"),
    "another sentence": (column("task_index", lambda v: [1] * 11), r"episode 0 is told .*Put .* says tasks .*Pick"),
    "sentences without numbers": (lambda f: so101.write_rows(f / TASKS, [{"task": "x"}]), r"no column 'task_index'"),
    "sentences of numbers": (
        lambda f: so101.write_rows(f / TASKS, [{"task_index": 0, "task": 1}]),
        r"no column of texts",
    ),
    "a video begins before zero": (rows(each(**{BEGIN: -1.0})), r"from_timestamp of episode 0"),
    "a video begins nowhere": (rows(each(**{BEGIN: NAN})), r"from_timestamp of episode 0"),
    "a video begins later": (rows(each(**{BEGIN: 5.0, END: 9.0})), r"mp4: has no picture for episode 0, frame 5"),
    "no place of a video": (
        rows(lambda found: [row.pop(BEGIN) for row in found]),
        rf"has no column 'videos/{FRONT}/from_timestamp'",
    ),
    "a video in another file": (rows(each(**{f"videos/{FRONT}/file_index": 3})), r"file-003.mp4: no such file"),
    "no video": (unlink(VIDEO), r"file-000.mp4: no such file; the dataset is not complete"),
    "half a video": (cut(VIDEO, 0.5), r"mp4: (not a readable|has no) video"),
    "a video of nothing": (lambda f: (f / VIDEO).write_bytes(b""), r"mp4: (not a readable|has no) video"),
    "a shorter video": (other_film(lengths=(6, 3)), r"mp4: has no picture for episode 1, frame 4"),
    "a video of another rate": (other_film(fps=20), r"mp4: has no picture for episode 0"),
    "pictures of another size": (other_film(size=(64, 64)), r"are 64x64 pixels, meta/info.json says 96x128"),
    "half a table": (cut(DATA, 0.5), r"file-000.parquet: not a readable parquet file"),
    "half a table of episodes": (cut(EPISODES, 0.7), r"not a readable parquet file"),
    "no table": (unlink(DATA), r"no parquet files in data/"),
    "no table of episodes": (unlink(EPISODES), r"no parquet files in meta/episodes/"),
    "a table of another set": (table(lambda t: t.drop_columns(["observation.state"])), r"no column .observation.state"),
    "the same table twice": (
        lambda f: shutil.copy(f / DATA, f / "data/chunk-000/file-001.parquet"),
        r"22 frames and 2 episodes are there",
    ),
    "own facts without groups": (own("{}"), r"embodkd.json: lacks groups"),
    "own facts that are a list": (own("[1]"), r"embodkd.json: it is not a mapping"),
    "own facts of groups by name": (own('{"groups": ["proprio"]}'), r"groups must be a list of groups"),
    "own facts without a shape": (own('{"groups": [{"name": "proprio"}]}'), r"embodkd.json: lacks groups"),
    "own facts of a wider group": (own(groups(9, "observation.state")), r"groups.proprio of shape \[9\]"),
    "own facts of another feature": (own(groups(2, "observation.pose")), r"lies in 'observation.pose'"),
    "a task that leads out": (own(groups(6, "observation.state", task={"name": "../x"})), r"task.name must be letters"),
    "a task of a number": (own(groups(6, "observation.state", task={"name": 5})), r"task.name must be letters"),
    "a task as a text": (own(groups(6, "observation.state", task="peg")), r"task must be a mapping"),
    "own facts of more episodes": (
        own(groups(6, "observation.state", episodes=[{"seed": 1}] * 3)),
        r"tells of 3 episodes, .* of 2",
    ),
}


IN_TABLES: dict[str, tuple[Callable[[list], object], str]] = {
    "half a picture": (lambda v: v[3].update(bytes=v[3]["bytes"][:200]), r"front of episode 0, frame 3: .*truncated"),
    "no picture": (lambda v: v[7].update(bytes=b"what"), r"front of episode 1, frame 1: cannot identify"),
    "no bytes": (lambda v: v[7].update(bytes=None), r"only the name of a file is stored, frame-000007.png"),
    "a name that leads out": (lambda v: v[1].update(bytes=None, path="/etc/passwd"), r"would lie outside"),
    "nothing": (lambda v: v.__setitem__(0, None), r"front of episode 0, frame 0: is no encoded picture"),
    "another size": (
        lambda v: v[9].update(bytes=so101.png(np.zeros((8, 8, 3), np.uint8))),
        r"front of episode 1, frame 3: is 8x8 pixels, meta/info.json says 96x128",
    ),
    "sixteen bits": (
        lambda v: v[2].update(bytes=so101.png(np.zeros((96, 128), np.uint16))),
        r"front of episode 0, frame 2: has pixels of more than a byte",
    ),
}

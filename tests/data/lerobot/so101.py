"""A dataset as lerobot 0.6.1's own writer makes one, by hand: an SO-101 arm in degrees, two cameras, two sentences.

Written with pyarrow and PyAV alone, so that tests need no lerobot; compared with one that lerobot wrote itself.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

JOINTS = ["shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper"]
NAMES = [f"{joint}.pos" for joint in JOINTS]
SENTENCES = ["Pick up the red cube.", "Put the cube into the box."]
LENGTHS = (12, 9, 14)
FPS = 30
HEIGHT, WIDTH = 96, 128
CAMERAS = ("front", "wrist")


def numbers(lengths: tuple[int, ...] = LENGTHS) -> tuple[np.ndarray, np.ndarray]:
    """(states, actions) of all frames, (F, 6): joints in degrees, the gripper from 0 to 100."""
    generator, count = np.random.default_rng(5), sum(lengths)
    swing = np.sin(np.arange(count)[:, None] / 5 + np.arange(6)) * [60, 45, 80, 50, 90, 40] + [0, 0, 10, 20, 0, 50]
    return (swing + generator.normal(0, 0.2, swing.shape)).astype(np.float32), swing.astype(np.float32)


def pictures(camera: str, lengths: tuple[int, ...] = LENGTHS, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """(F, H, W, 3): a bar whose place tells the frame, so that a picture of another moment is noticed."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    ground = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 40 if camera == "front" else 160)], 2)
    found = np.repeat(ground[None], sum(lengths), 0).astype(np.uint8)
    for frame, picture in enumerate(found):
        left = frame * (width - 12) // max(1, sum(lengths) - 1)
        picture[:, left : left + 12] = [255, 255, 0] if camera == "front" else [0, 255, 255]
    return found


def moment(picture_CHW: np.ndarray, camera: str, lengths: tuple[int, ...] = LENGTHS) -> int:
    """The frame whose picture this is."""
    of = pictures(camera, lengths, picture_CHW.shape[1:]).transpose(0, 3, 1, 2).astype(float)
    return int(((of - picture_CHW) ** 2).mean((1, 2, 3)).argmin())


def write(
    folder: Path,
    kind: str = "video",
    lengths: tuple[int, ...] = LENGTHS,
    *,
    codec: str = "libsvtav1",
    names: Any = NAMES,
    more: dict[str, tuple[dict[str, Any], Any]] | None = None,
) -> Path:
    """The dataset with its cameras as `kind` ("video", "image" or "none"); more: name -> (feature, column)."""
    import pyarrow as pa
    from pyarrow import parquet

    count, ends = sum(lengths), np.cumsum(lengths)
    starts = ends - lengths
    episode = np.repeat(np.arange(len(lengths)), lengths)
    frame = np.arange(count) - starts[episode]
    state, action = numbers(lengths)
    vector = {"dtype": "float32", "shape": [6], "names": names}
    features: dict[str, Any] = {"action": vector, "observation.state": vector}
    fixed = pa.list_(pa.float32(), 6)
    columns: dict[str, Any] = {
        "action": pa.array(action.tolist(), fixed),
        "observation.state": pa.array(state.tolist(), fixed),
    }
    for camera in CAMERAS if kind != "none" else ():
        name = f"observation.images.{camera}"
        features[name] = {"dtype": kind, "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
        if kind == "image":
            shown = enumerate(pictures(camera, lengths))
            held = [{"bytes": png(picture), "path": f"frame-{k:06d}.png"} for k, picture in shown]
            columns[name] = pa.array(held, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        else:
            film(folder / f"videos/{name}/chunk-000/file-000.mp4", pictures(camera, lengths), codec)
            features[name]["info"] = {
                "video.height": HEIGHT,
                "video.width": WIDTH,
                "video.fps": FPS,
                "is_depth_map": False,
            }
    for name, (feature, column) in (more or {}).items():
        features[name], columns[name] = feature, column
    task = np.arange(len(lengths)) % 2
    counted = {"frame_index": frame, "episode_index": episode, "index": np.arange(count), "task_index": task[episode]}
    columns["timestamp"] = pa.array((frame / FPS).astype(np.float32))
    columns |= {name: pa.array(values.astype(np.int64)) for name, values in counted.items()}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    features |= {name: {"dtype": "int64", "shape": [1], "names": None} for name in counted}
    data = folder / "data/chunk-000/file-000.parquet"
    data.parent.mkdir(parents=True)
    table = pa.table(columns)
    with parquet.ParquetWriter(data, table.schema) as writer:
        for start, length in zip(starts, lengths, strict=True):
            writer.write_table(table.slice(start, length))  # a row group per episode
    rows = []
    for e, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        row: dict[str, Any] = {"episode_index": e, "tasks": [SENTENCES[task[e]]], "length": end - start}
        row |= {"data/chunk_index": 0, "data/file_index": 0, "dataset_from_index": start, "dataset_to_index": end}
        for camera in CAMERAS if kind == "video" else ():
            key = f"videos/observation.images.{camera}"
            row |= {f"{key}/chunk_index": 0, f"{key}/file_index": 0}
            row |= {f"{key}/from_timestamp": start / FPS, f"{key}/to_timestamp": end / FPS}
        rows.append(row)
    write_rows(folder / "meta/episodes/chunk-000/file-000.parquet", rows)
    write_rows(folder / "meta/tasks.parquet", [{"task_index": k, "task": said} for k, said in enumerate(SENTENCES)])
    info = {
        "codebase_version": "v3.0",
        "fps": FPS,
        "features": features,
        "total_episodes": len(lengths),
        "total_frames": count,
        "total_tasks": 2,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "robot_type": "so101_follower",
        "splits": {"train": f"0:{len(lengths)}"},
    }
    (folder / "meta/info.json").write_text(json.dumps(info, indent=4))
    return folder


def endings(lengths: tuple[int, ...], won: tuple[int, ...]) -> dict[str, tuple[dict[str, Any], Any]]:
    """What `write` takes as more: the episodes numbered so succeeded with their last frame, the others failed."""
    import pyarrow as pa

    success = np.zeros(sum(lengths), bool)
    success[np.cumsum(lengths)[list(won)] - 1] = True
    return {"next.success": ({"dtype": "bool", "shape": [1], "names": None}, pa.array(success))}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """A parquet file of plain rows."""
    import pyarrow as pa
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def png(picture_HWC: np.ndarray) -> bytes:
    """One encoded picture."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture_HWC).save(stream, "png")
    return stream.getvalue()


def film(path: Path, pictures_THWC: np.ndarray, codec: str = "libsvtav1", fps: int = FPS, **options: Any) -> None:
    """A video with two pictures per group, as lerobot encodes them."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = pictures_THWC.shape[1:3]
        stream.pix_fmt = options.get("pix_fmt", "yuv420p")
        quality = {"g": "2", "crf": "20"}
        stream.options = quality | ({"preset": "12", "svtav1-params": "lp=1"} if codec == "libsvtav1" else {})
        for picture in pictures_THWC:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=options.get("format", "rgb24"))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def edit_info(folder: Path, change: Any) -> None:
    """`change(info)` in place."""
    path = folder / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def edit_table(folder: Path, change: Any, name: str = "data/chunk-000/file-000.parquet") -> None:
    """`change(table)` gives another table, which is written in place of that one."""
    from pyarrow import parquet

    parquet.write_table(change(parquet.read_table(folder / name)), folder / name)


def edit_rows(folder: Path, change: Any, name: str = "meta/episodes/chunk-000/file-000.parquet") -> None:
    """`change(rows)` in place, rows being a list of dictionaries."""
    from pyarrow import parquet

    rows = parquet.read_table(folder / name).to_pylist()
    change(rows)
    write_rows(folder / name, rows)


def column(table: Any, name: str, values: Any, kind: Any = None) -> Any:
    """The table with other values in a column."""
    import pyarrow as pa

    at = table.column_names.index(name)
    return table.set_column(at, name, pa.array(values, kind or table.schema.field(name).type))

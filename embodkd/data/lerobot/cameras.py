"""A camera's pictures, out of videos or out of the tables, as bytes (n, C, H, W)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.data.lerobot.episodes import Episodes
from embodkd.data.lerobot.groups import Stored, axes_of
from embodkd.data.lerobot.info import Feature, Info
from embodkd.data.lerobot.pictures import Memory, Pictures, of_episodes, resized
from embodkd.data.lerobot.tables import arrow, files_of, mapped_column
from embodkd.data.lerobot.video import Clip

# How lerobot turns distances into twelve bits unless a video says otherwise: metres, and a logarithm shifted by metres.
NEAR, FAR, SHIFT, CODES = 0.01, 10.0, 3.5, 4095


def pictures_of(info: Info, stored: Stored, episodes: Episodes, memory: Memory) -> Pictures:
    """The pictures of a camera. Where they lie is checked now, each picture when it is decoded.

    ValueError, now or then, that names the file and the frame if one is missing, damaged or of another size, and if
    no picture of a video is within half a frame of the time of a frame.
    """
    feature = info.features[stored.feature]
    kind = _InVideos if feature.dtype == "video" else _InTables
    source = kind(info, feature, stored, episodes)
    length_E = episodes.length_E
    return Pictures(stored.facts.shape, length_E, of_episodes(source.decode, len(length_E)), memory, source.mark)


class _InVideos:
    """mp4 files, each with the pictures of many episodes: which one belongs to a frame says its time."""

    def __init__(self, info: Info, feature: Feature, stored: Stored, episodes: Episodes) -> None:
        self._channels, height, width = stored.facts.shape
        self._size = (height, width)
        self._start_E, self._place_E = episodes.start_E, episodes.videos[feature.name]
        axes = axes_of(feature)
        assert axes is not None
        self._files: dict[tuple[int, int], Clip] = {}
        self._moment_F = np.empty(int(episodes.length_E.sum()), np.int64)
        for episode, (chunk, file, begin) in enumerate(self._place_E):
            clip = self._clip(info, feature, int(chunk), int(file), axes[1:])
            here = slice(self._start_E[episode], self._start_E[episode] + episodes.length_E[episode])
            second_T = begin + episodes.second_F[here]
            moment_T, off_T = clip.nearest(second_T)
            worst = int(off_T.argmax())
            if off_T[worst] > 0.499 / info.fps:
                raise ValueError(
                    f"{clip.path}: has no picture for {episodes.place(here.start + worst)}: at {second_T[worst]:.4g} s "
                    f"of the file the nearest one is {off_T[worst]:.3g} s away, more than half a frame at "
                    f"{info.fps:g} per second; the tables or the video are not whole, fetch or write them anew"
                )
            self._moment_F[here] = moment_T
        self.mark: Any = [clip.mark for clip in self._files.values()]

    def _clip(self, info: Info, feature: Feature, chunk: int, file: int, size: tuple[int, int]) -> Clip:
        if (chunk, file) not in self._files:
            name = info.video_path.format(video_key=feature.name, chunk_index=chunk, file_index=file)
            path = _inside(info.where, name)
            self._files[chunk, file] = Clip(path, size, "depth" if feature.is_depth else self._channels)
        return self._files[chunk, file]

    def decode(self, episode: int, frame_N: np.ndarray) -> np.ndarray:
        """The pictures of these frames of an episode."""
        chunk, file, _ = self._place_E[episode]
        found = self._files[int(chunk), int(file)].decode(self._moment_F[self._start_E[episode] + frame_N])
        return resized(found, self._size)


class _InTables:
    """Encoded pictures in a column of data/, or in files that it names."""

    def __init__(self, info: Info, feature: Feature, stored: Stored, episodes: Episodes) -> None:
        axes = axes_of(feature)
        assert axes is not None
        self._where, self._feature, self._episodes = info.where, feature, episodes
        self._channels, height, width = stored.facts.shape
        self._size, self._stored_size = (height, width), axes[1:]
        self._groups: list[tuple[Path, int]] = []
        ends = [0]
        for path in files_of(info.where, "data"):
            table = arrow().parquet.ParquetFile(path)
            if feature.name not in table.schema_arrow.names:
                raise ValueError(f"{path}: has no column {feature.name!r}; fetch or write it anew")
            for group in range(table.num_row_groups):
                self._groups.append((path, group))
                ends.append(ends[-1] + table.metadata.row_group(group).num_rows)
        self.mark: Any = [path.stat().st_size for path in files_of(info.where, "data")]
        self._end_G = np.array(ends[1:])
        self._first_G = np.array(ends[:-1])
        self._columns: dict[int, Any] = {}
        self.decode(0, np.array([0]))

    def decode(self, episode: int, frame_N: np.ndarray) -> np.ndarray:
        """The pictures of these frames of an episode."""
        found = [self._picture(self._encoded(int(row)), int(row)) for row in self._episodes.start_E[episode] + frame_N]
        return resized(np.stack(found), self._size)

    def _encoded(self, row: int) -> Any:
        group = int(np.searchsorted(self._end_G, row, "right"))
        if group not in self._columns:
            path, number = self._groups[group]
            self._columns[group] = mapped_column(path, number, self._feature.name)
        return self._columns[group][row - int(self._first_G[group])].as_py()

    def _picture(self, encoded: Any, row: int) -> np.ndarray:
        """(C, H, W) bytes of one picture; ValueError naming the frame if it cannot be decoded or is of another size."""
        from PIL import Image

        at = f"{self._where}: {self._feature.name} of {self._episodes.place(row)}"
        content = encoded.get("bytes") if isinstance(encoded, Mapping) else encoded
        if content is None and isinstance(encoded, Mapping) and isinstance(encoded.get("path"), str):
            path = _inside(self._where, encoded["path"])
            if not path.is_file():
                raise ValueError(f"{at}: only the name of a file is stored, {encoded['path']}, which is not there")
            content = path.read_bytes()
        if not isinstance(content, bytes):
            raise ValueError(f"{at}: is no encoded picture; damaged: fetch or write it anew")
        try:
            with Image.open(io.BytesIO(content)) as picture:
                if picture.size[::-1] != self._stored_size:
                    said = "x".join(map(str, self._stored_size))
                    found = "x".join(map(str, picture.size[::-1]))
                    raise ValueError(f"is {found} pixels, meta/info.json says {said}")
                return self._as_bytes(picture)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{at}: {error}; damaged: fetch or write it anew") from error

    def _as_bytes(self, picture: Any) -> np.ndarray:
        deep = picture.mode.startswith(("I", "F"))
        if self._feature.is_depth:
            unit = self._feature.facts.get("depth_unit") or ("mm" if picture.mode.startswith("I") else "m")
            return depth_bytes(np.asarray(picture, np.float32) / (1000.0 if unit == "mm" else 1.0))[None]
        if deep:
            raise ValueError(f"has pixels of more than a byte ({picture.mode}), but is not marked as a depth map")
        values = np.asarray(picture.convert("L" if self._channels == 1 else "RGB"))
        return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def depth_bytes(metres: np.ndarray) -> np.ndarray:
    """Distances as lerobot codes them by default, a logarithm from near to far, in 256 steps instead of 4096."""
    low, high = math.log(NEAR + SHIFT), math.log(FAR + SHIFT)
    share = (np.log(np.clip(np.nan_to_num(metres, posinf=FAR), NEAR, FAR) + SHIFT) - low) / (high - low)
    return np.rint(255 * share).astype(np.uint8)


def _inside(where: Path, name: str) -> Path:
    # A file of the hub's cache is a link to elsewhere, so it is the name that may not lead out.
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{where}: the file {name!r} would lie outside of the dataset; it is not read")
    return where / name

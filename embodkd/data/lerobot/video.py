"""One camera's frames as an mp4 with short groups of pictures, so that a reader finds any frame quickly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

QUALITY = {"crf": "18", "preset": "veryfast", "g": "8", "bf": "0", "threads": "1"}


def codec() -> str:
    """What this build of PyAV writes: "h264", or "mpeg4" where it lacks x264."""
    import av

    return "h264" if "libx264" in av.codecs_available else "mpeg4"


class VideoFile:
    """An open file; `add` appends pictures, `close` ends it."""

    def __init__(self, path: Path, fps: float, height: int, width: int) -> None:
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        h264 = codec() == "h264"
        self._stream = self._container.add_stream("libx264" if h264 else "mpeg4", rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = 1 / rate
        if h264:
            self._stream.options = QUALITY
        else:
            self._stream.bit_rate = 4_000_000
        self.frames = 0

    def add(self, pictures_TCHW: np.ndarray) -> None:
        """Append pictures, uint8 (T, 3, H, W)."""
        import av

        for picture in pictures_TCHW:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0)), format="rgb24")
            frame.pts = self.frames
            self._container.mux(self._stream.encode(frame))
            self.frames += 1

    def close(self) -> None:
        """Write what is still in the encoder."""
        self._container.mux(self._stream.encode())
        self._container.close()


class Clip:
    """A video file in which any picture is found by its moment, the packet's own time. `mark`: times and sizes of all.

    size: (H, W) that its pictures should have; channels: 3, 1, or "depth" for the twelve bits of lerobot's distances.
    ValueError that names the file if it is missing, cannot be decoded or has another size.
    """

    def __init__(self, path: Path, size: tuple[int, int], channels: int | str) -> None:
        self.path, self._channels = path, channels
        if not path.is_file():
            raise ValueError(f"{path}: no such file; the dataset is not complete, fetch or write it anew")
        with self._reading() as (container, stream):
            if stream.codec_context is None:
                raise ValueError(f"{path}: this build of PyAV has no decoder for it; encode it with h264 or av1")
            if (stream.height, stream.width) != tuple(size):
                raise ValueError(
                    f"{path}: its pictures are {stream.height}x{stream.width} pixels, meta/info.json says "
                    f"{size[0]}x{size[1]}; fetch or write them anew"
                )
            found = [p for p in container.demux(stream) if p.size and not p.is_discard]
            packets, self.mark = [(p.pts, p.is_keyframe) for p in found], [(p.pts, p.size) for p in found]
            base = float(stream.time_base)
        if not packets or any(pts is None for pts, _ in packets):
            raise ValueError(f"{path}: not a readable video: its pictures have no times; encode it as mp4")
        self._moment_P = np.sort(np.array([pts for pts, _ in packets], np.int64))
        self._second_P = self._moment_P * base
        self._key_K = np.sort(np.array([pts for pts, key in packets if key] or [self._moment_P[0]], np.int64))

    def nearest(self, second_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the moments nearest to these times, how many seconds they are off)."""
        after_N = np.searchsorted(self._second_P, second_N).clip(1, max(1, len(self._second_P) - 1))
        after_N = after_N.clip(max=len(self._second_P) - 1)
        before_N = (after_N - 1).clip(0)
        nearer = np.abs(self._second_P[before_N] - second_N) <= np.abs(self._second_P[after_N] - second_N)
        place_N = np.where(nearer, before_N, after_N)
        return self._moment_P[place_N], np.abs(self._second_P[place_N] - second_N)

    def decode(self, moment_N: np.ndarray) -> np.ndarray:
        """The pictures of these moments, ascending, (N, C, H, W) bytes; stretches without one are jumped over."""
        key_N = np.searchsorted(self._key_K, moment_N, "right") - 1
        breaks = np.flatnonzero(np.diff(key_N) > 1) + 1
        found: dict[int, np.ndarray] = {}
        with self._reading() as (container, stream):
            for part in np.split(np.arange(len(moment_N)), breaks):
                wanted = set(moment_N[part].tolist())
                container.seek(int(self._key_K[max(0, key_N[part[0]])]), stream=stream)
                for frame in container.decode(stream):
                    if frame.pts in wanted:
                        if frame.is_corrupt:
                            raise ValueError(
                                f"{self.path}: the picture at {frame.time:.4g} s is damaged; fetch it anew"
                            )
                        found[frame.pts] = self._bytes(frame)
                        wanted.discard(frame.pts)
                    if not wanted:
                        break
                if wanted:
                    raise ValueError(f"{self.path}: {len(wanted)} of its pictures cannot be decoded; fetch it anew")
        return np.stack([found[moment] for moment in moment_N.tolist()])

    def _bytes(self, frame: Any) -> np.ndarray:
        if self._channels == "depth":
            codes = frame.to_ndarray(format="gray12le").astype(np.float32)
            return np.rint(codes * (255 / 4095)).clip(0, 255).astype(np.uint8)[None]
        if self._channels == 1:
            return frame.to_ndarray(format="gray")[None]
        return frame.to_ndarray(format="rgb24").transpose(2, 0, 1)

    @contextmanager
    def _reading(self) -> Iterator[tuple[Any, Any]]:
        import av

        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise ValueError(f"{self.path}: has no video in it; fetch or write it anew")
                yield container, container.streams.video[0]
        except av.FFmpegError as error:
            raise ValueError(f"{self.path}: not a readable video ({error}); damaged: fetch or write it anew") from error

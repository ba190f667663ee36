"""One camera's frames as an mp4 with short groups of pictures, so that a reader finds any frame quickly."""

from __future__ import annotations

from collections.abc import Iterator
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


def frames_of(path: Path) -> Iterator[np.ndarray]:
    """The pictures of a file in order, uint8 (3, H, W); ValueError if it is missing or cannot be decoded."""
    import av

    if not path.is_file():
        raise ValueError(f"{path}: no such file; the dataset is not complete, fetch or write it anew")
    try:
        with av.open(str(path)) as container:
            stream: Any = container.streams.video[0]
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="rgb24").transpose(2, 0, 1)
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: not a readable video ({error}); damaged: fetch or write it anew") from error

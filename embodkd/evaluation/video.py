"""An mp4 that plays everywhere, written frame by frame; whole or absent."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from embodkd.core.runs.files import clear_os_error
from embodkd.core.runs.unbegun import missing_folders, remove_empty


class VideoWriter:
    """Use it as a context manager and ``add`` frames, uint8 (H, W, 3) with even sides; none of them is kept.

    ``codec`` says what is used: "h264", which every browser plays, or "mpeg4" where this build of PyAV lacks x264.
    The file appears under its name when the block ends well, and not at all when it does not.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        if self.path.suffix != ".mp4":
            raise ValueError(f"{self.path}: videos are mp4 files; end its name with .mp4")
        self.frames = 0
        self._fps = Fraction(fps).limit_denominator(1001)
        self._aside = self.path.with_name(f".{self.path.name}.tmp-{os.getpid()}")
        self._made: list[Path] = []
        self._container: Any = None
        self._stream: Any = None
        self.codec, self._encoder = _codec()

    def __enter__(self) -> VideoWriter:
        import av

        with clear_os_error(self.path, "create"):
            self._made = missing_folders(self.path.parent)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The index goes to the front, so that a browser can play before it has read all.
            self._container = av.open(str(self._aside), "w", format="mp4", options={"movflags": "+faststart"})
        return self

    def add(self, frame: np.ndarray) -> None:
        """Append one picture, uint8 (H, W, 3)."""
        import av

        if self._stream is None:
            self._start(frame)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self.frames
        with clear_os_error(self.path):
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with clear_os_error(self.path):
            try:
                if self._stream is not None and kind is None:
                    for packet in self._stream.encode():
                        self._container.mux(packet)
                self._container.close()
                if kind is None:
                    if not self.frames:
                        raise ValueError(f"{self.path}: a video without frames; nothing was written")
                    os.replace(self._aside, self.path)
            finally:
                self._aside.unlink(missing_ok=True)
                if not self.path.exists():
                    remove_empty(self._made)

    def _start(self, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        if frame.dtype != np.uint8 or frame.shape[2:] != (3,) or height % 2 or width % 2:
            raise ValueError(f"a frame must be uint8 (H, W, 3) with even sides, got {frame.dtype} {frame.shape}")
        self._stream = self._container.add_stream(self._encoder, rate=self._fps)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = 1 / self._fps
        if self._encoder == "libx264":
            self._stream.options = {"crf": "23", "preset": "veryfast", "threads": "1"}
        else:
            self._stream.bit_rate = 4_000_000


def _codec() -> tuple[str, str]:
    import av

    return ("h264", "libx264") if "libx264" in av.codecs_available else ("mpeg4", "mpeg4")

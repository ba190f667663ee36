"""Arrays as files that every browser shows and plays: PNG and WAV; and what a sound looks like."""

from __future__ import annotations

import io
import wave
from math import ceil

import numpy as np

_GAP = 1  # pixel between the pictures of a sheet
_FLOOR = 80.0  # dB below the loudest that are drawn


def pixels(images_NCHW: np.ndarray) -> np.ndarray:
    """Pictures of 1 or 3 channels in [0, 1], what lies beyond cut off, as uint8 (N, H, W, 3)."""
    bytes_NCHW = (images_NCHW.clip(0, 1) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(
        np.moveaxis(np.broadcast_to(bytes_NCHW, (len(bytes_NCHW), 3, *bytes_NCHW.shape[2:])), 1, -1)
    )


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether an item of this shape, (channels, height, width), can be looked at."""
    return len(shape) == 3 and shape[0] in (1, 3)


def sheet(pictures_NHWC: np.ndarray, columns: int) -> np.ndarray:
    """Pictures, uint8 (N, H, W, 3), row by row on one, a grey line between them."""
    count, height, width, _ = pictures_NHWC.shape
    tall, wide = height + _GAP, width + _GAP
    found = np.full((ceil(count / columns) * tall - _GAP, columns * wide - _GAP, 3), 128, np.uint8)
    for number, picture in enumerate(pictures_NHWC):
        top, left = number // columns * tall, number % columns * wide
        found[top : top + height, left : left + width] = picture
    return found


def png(picture: np.ndarray) -> bytes:
    """A picture, uint8 (H, W) or (H, W, 3), as PNG."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return content.getvalue()


def wav(sound_T: np.ndarray, rate: int) -> bytes:
    """A sound in -1..1, what lies beyond cut off, at `rate` Hz as WAV of one channel and 16 bits."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((sound_T.clip(-1, 1) * 32767).round().astype("<i2").tobytes())
    return content.getvalue()


def loudness_picture(loudness_MF: np.ndarray) -> bytes:
    """Loudness in dB of M bands, the lowest first, over F frames, as PNG: time to the right, bands up, loud bright."""
    from embodkd.evaluation.pictures import depth_colours

    top = loudness_MF.max()
    dark_MF = ((top - loudness_MF).clip(0, _FLOOR) / _FLOOR * 255).round().astype(np.uint8)
    return png(depth_colours(dark_MF[::-1]))

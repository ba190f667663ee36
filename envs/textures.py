"""Procedural textures: patterns in the space that a body fills, so that they stick to it and turn with it.

Coordinates are in periods, (3, P) of P points. Every pattern is continuous, with edges about a tenth of a period wide:
a point that rounding moves hardly changes its shade, so all ways of seeing show the same picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

Texture = Literal["plain", "stripes", "checks", "blobs", "rings", "dots", "zigzag"]
_SHARP = 4.0


def shade(kind: Texture, points_3P: np.ndarray) -> np.ndarray:
    """How bright a pattern is, from -1 to 1, (P,)."""
    return _KINDS[kind](*points_3P)


def _wave(x: np.ndarray) -> np.ndarray:
    """A triangle wave of period 1: 1 at whole numbers, -1 between them."""
    return 1.0 - 4.0 * np.abs(x - np.rint(x))


def _edged(x: np.ndarray) -> np.ndarray:
    return np.clip(_SHARP * x, -1.0, 1.0)


def _plain(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.zeros_like(x)


def _stripes(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _edged(_wave(x))


def _checks(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _edged(_wave(x)) * _edged(_wave(y))


def _blobs(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return (_wave(x + 0.3 * _wave(0.7 * y)) + _wave(y + 0.3 * _wave(0.6 * z)) + _wave(z + 0.3 * _wave(0.8 * x))) / 3.0


def _rings(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _edged(_wave(np.sqrt(x * x + y * y)))


def _dots(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _edged(0.3 * (_wave(x) + _wave(y) + _wave(z) - 1.0))


def _zigzag(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return _edged(_wave(x + 0.25 * _wave(y)))


_KINDS: dict[Texture, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "plain": _plain,
    "stripes": _stripes,
    "checks": _checks,
    "blobs": _blobs,
    "rings": _rings,
    "dots": _dots,
    "zigzag": _zigzag,
}

"""Counter-based random numbers: draw k of an episode is a function of (seed, stream, k) and of nothing else.

With them a whole batch of episodes is drawn in one vectorised call, and an episode looks the same in a batch of one
and in a batch of a thousand, whatever ran before it.  The mixer is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)


def _mix(state: np.ndarray) -> np.ndarray:
    """The SplitMix64 finaliser on ``uint64`` values."""
    with np.errstate(over="ignore"):
        state = (state ^ (state >> np.uint64(30))) * _MIX_A
        state = (state ^ (state >> np.uint64(27))) * _MIX_B
    return state ^ (state >> np.uint64(31))


def uniform(seeds_N: np.ndarray, stream: str | int, count: int, *, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """``count`` numbers per seed, uniform in [low, high), float64 of shape (N, count).

    ``stream`` keeps independent uses apart; a name is hashed, an integer (a step count, say) is taken as it is.
    """
    salt = np.uint64(_fnv(stream) if isinstance(stream, str) else stream)
    with np.errstate(over="ignore"):
        base_N = _mix(np.asarray(seeds_N).astype(np.uint64) * _GOLDEN + _mix(np.atleast_1d(salt + _GOLDEN)))
        counter_K = (np.arange(count, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
        bits_NK = _mix(base_N[:, None] + counter_K[None, :])
    unit_NK = (bits_NK >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return low + (high - low) * unit_NK


def normal(seeds_N: np.ndarray, stream: str | int, count: int) -> np.ndarray:
    """``count`` standard normal numbers per seed, float64 of shape (N, count), by Box and Muller's transform."""
    draws = uniform(seeds_N, stream, 2 * count)
    radius = np.sqrt(-2.0 * np.log1p(-draws[:, :count]))
    return radius * np.cos(2.0 * np.pi * draws[:, count:])


def next_seeds(seeds_N: np.ndarray) -> np.ndarray:
    """The seed of the episode after each of these, int64 >= 0: what an autoreset uses."""
    with np.errstate(over="ignore"):
        mixed = _mix(np.asarray(seeds_N).astype(np.uint64) + _GOLDEN)
    return (mixed >> np.uint64(2)).astype(np.int64)


def forked(seeds_N: np.ndarray, stream: str, number_N: np.ndarray | int) -> np.ndarray:
    """A seed of its own for each number (a step, say) of an episode, int64 >= 0."""
    with np.errstate(over="ignore"):
        salt_N = np.uint64(_fnv(stream)) + np.asarray(number_N).astype(np.uint64) * _GOLDEN
        mixed = _mix(_mix(np.asarray(seeds_N).astype(np.uint64) + _GOLDEN) + salt_N)
    return (mixed >> np.uint64(2)).astype(np.int64)


def _fnv(text: str) -> int:
    """64-bit FNV-1a hash of a stream's name: stable between processes, unlike ``hash``."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value

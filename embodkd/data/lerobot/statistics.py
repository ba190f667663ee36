"""Minimum, maximum, mean, deviation and count of every feature, per episode and of all of them (meta/stats.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Stats = dict[str, np.ndarray]


def stats_of(values: np.ndarray) -> Stats:
    """Over the rows of one feature: (T,) or (T, D), or pictures (T, 3, H, W) of bytes, then per channel in [0, 1]."""
    if values.ndim == 4:
        rows = values.reshape(*values.shape[:2], -1).astype(np.float64) / 255
        low, high = rows.min(axis=(0, 2)), rows.max(axis=(0, 2))
        mean, deviation = rows.mean(axis=(0, 2)), rows.std(axis=(0, 2))
        found = {"min": low, "max": high, "mean": mean, "std": deviation}
        return {**{k: v.reshape(-1, 1, 1) for k, v in found.items()}, "count": np.array([len(values)])}
    rows = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": rows.min(axis=0), "max": rows.max(axis=0), "mean": rows.mean(axis=0), "std": rows.std(axis=0)}
    return {**found, "count": np.array([len(values)])}


def merged(parts: Sequence[Stats]) -> Stats:
    """The statistics of all rows together from those of the parts."""
    count = np.array([part["count"][0] for part in parts])
    share = count / count.sum()
    mean = sum(s * part["mean"] for s, part in zip(share, parts, strict=True))
    spread = sum(s * (part["std"] ** 2 + (part["mean"] - mean) ** 2) for s, part in zip(share, parts, strict=True))
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": np.asarray(mean),
        "std": np.sqrt(spread),
        "count": np.array([count.sum()]),
    }


def as_lists(stats: Mapping[str, Stats]) -> dict[str, dict[str, Any]]:
    """The same as plain lists, for JSON."""
    return {feature: {name: value.tolist() for name, value in own.items()} for feature, own in stats.items()}

"""Minimum, maximum, mean, deviation and count of every feature, per episode and of all of them (meta/stats.json).

Nothing here is scaled by what a dataset says of itself: ranges come from the frames. So its statistics serve for one
thing, to tell that frames were changed after they were made, as where somebody turned radians into degrees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.data.lerobot.info import MEND, read_mapping
from embodkd.data.lerobot.layout import STATS_PATH

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


def check_statistics(folder: Path, rows: Mapping[str, np.ndarray]) -> None:
    """ValueError naming file and feature if frames (F, D) lie outside of the range that meta/stats.json gives them, or
    if that is none for D numbers. Frames that do not reach its ends are well: some may have been taken out."""
    file = folder / STATS_PATH
    if not file.is_file():
        return
    stats = read_mapping(file)
    for feature, values in rows.items():
        own = stats.get(feature, {})
        if not isinstance(own, Mapping):
            raise ValueError(f"{file}: {feature} is not a mapping; {MEND}")
        low, high = (_numbers(own.get(end), values.shape[1], f"{file}: {feature}.{end}") for end in ("min", "max"))
        if low is None or high is None:
            continue
        slack = 1e-3 * np.maximum(high - low, np.abs(high)) + 1e-6
        wrong = (values.min(0) < low - slack) | (values.max(0) > high + slack)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{file}: {feature} number {at} goes from {low[at]:.6g} to {high[at]:.6g}, in data/ from "
                f"{values[:, at].min():.6g} to {values[:, at].max():.6g}: the frames are others than it was made of; "
                "fetch or write them anew, or remove the file if the frames are right"
            )


def _numbers(said: Any, size: int, where: str) -> np.ndarray | None:
    """So many numbers, None if nothing is said."""
    if said is None:
        return None
    try:
        found = np.asarray(said, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: is no list of numbers ({error}); {MEND}") from error
    if len(found) != size or not np.isfinite(found).all():
        raise ValueError(f"{where}: must be {size} finite numbers, got {len(found)}; {MEND}")
    return found

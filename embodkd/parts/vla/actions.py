"""Actions as tokens: 256 equal bins between the 1 % and 99 % quantiles of each dimension, and back (OpenVLA, 3.2).

Whoever undoes bins by another data set's quantiles moves a robot wrongly without any error; so they carry a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

BINS = 256


@dataclass(frozen=True)
class ActionBins:
    """key: of the data that the limits are from; low, high (A,), in the actions' own units; bins of each dimension."""

    key: str
    low: np.ndarray
    high: np.ndarray
    bins: int = BINS

    @classmethod
    def of(
        cls, key: str, action_NA: np.ndarray, bins: int = BINS, quantiles: tuple[float, float] = (0.01, 0.99)
    ) -> ActionBins:
        """The limits of recorded actions. ValueError for actions that are no numbers, or none."""
        if not len(action_NA) or not np.isfinite(action_NA).all():
            raise ValueError(f"action bins of {key!r}: actions of shape {action_NA.shape}; give some, all finite")
        low_A, high_A = np.quantile(action_NA.astype(np.float64), quantiles, axis=0)
        # a dimension that never moves has one place: bins of no width would have none
        flat_A = high_A - low_A < 1e-9
        return cls(key, np.where(flat_A, low_A - 0.5, low_A), np.where(flat_A, high_A + 0.5, high_A), bins)

    def encode(self, action_NA: np.ndarray) -> np.ndarray:
        """The bin of each action, int64 (N, A); what is beyond the limits falls into the outermost."""
        share_NA = (np.clip(action_NA, self.low, self.high) - self.low) / (self.high - self.low)
        return np.minimum((share_NA * self.bins).astype(np.int64), self.bins - 1)

    def decode(self, bin_NA: np.ndarray, key: str) -> np.ndarray:
        """The middles of bins, float32 (N, A). ValueError for limits of other data, and for tokens that are no bins."""
        if key != self.key:
            raise ValueError(
                f"action bins: made of {self.key!r}, asked for {key!r}; undo actions by the data they are from"
            )
        if ((bin_NA < 0) | (bin_NA >= self.bins)).any():
            raise ValueError(f"action bins: a bin outside 0..{self.bins - 1}; were other tokens taken for actions?")
        return (self.low + (bin_NA + 0.5) / self.bins * (self.high - self.low)).astype(np.float32)

    def as_dict(self) -> dict[str, object]:
        """For a file."""
        return {"key": self.key, "low": self.low.tolist(), "high": self.high.tolist(), "bins": self.bins}

    @classmethod
    def from_dict(cls, stored: Mapping[str, object]) -> ActionBins:
        """What `as_dict` gave. ValueError for limits that are none."""
        low_A, high_A = (np.asarray(stored[name], dtype=np.float64) for name in ("low", "high"))
        if low_A.shape != high_A.shape or low_A.ndim != 1 or not (low_A < high_A).all():
            raise ValueError(
                f"action bins: low {low_A.tolist()} must lie below high {high_A.tolist()} in each dimension"
            )
        bins = stored["bins"]
        if not isinstance(bins, int) or bins < 1:
            raise ValueError(f"action bins: {bins!r} bins; take 1 or more")
        return cls(str(stored["key"]), low_A, high_A, bins)

"""What episodes came to, counted by when they were started: those that end in a stretch of time are no fair sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Started:
    """Returns and successes of a stream's episodes, by the stretch of time in which they were started.

    Of the episodes that *end* within some steps the short ones are too many, and where an episode ends on success these
    are the successful ones.  So a stretch is told only when all that were started in it have ended.
    """

    def __init__(self, copies: int) -> None:
        self.stretch = 0
        self.began_N = np.zeros(copies, np.int64)
        self.return_N = np.zeros(copies)
        self._sums: dict[int, np.ndarray] = {}  # stretch -> episodes that ended, their returns, their successes

    def step(self, reward_N: np.ndarray, over: np.ndarray, success_N: np.ndarray | None = None) -> None:
        """One step of all copies; the episodes of the copies `over` (n,) ended with it and others have begun there."""
        self.return_N += reward_N
        for copy in over:
            won = 0.0 if success_N is None else float(success_N[copy])
            sums = self._sums.setdefault(int(self.began_N[copy]), np.zeros(3))
            sums += (1.0, self.return_N[copy], won)
        self.began_N[over], self.return_N[over] = self.stretch, 0.0

    def told(self) -> tuple[float, float] | None:
        """End a stretch: mean return and success share of all that have become complete, None if there is none."""
        self.stretch += 1
        first = int(self.began_N.min())
        whole = [self._sums.pop(stretch) for stretch in sorted(self._sums) if stretch < min(first, self.stretch)]
        if not whole:
            return None
        ended, returns, won = np.sum(whole, axis=0)
        return float(returns / ended), float(won / ended)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything needed to go on."""
        sums = [[stretch, *numbers] for stretch, numbers in sorted(self._sums.items())]
        return {
            "stretch": np.array(self.stretch),
            "began": self.began_N.copy(),
            "return": self.return_N.copy(),
            "sums": np.array(sums, float).reshape(-1, 4),
        }

    def load_state_dict(self, arrays: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.stretch = int(arrays["stretch"])
        self.began_N, self.return_N = np.array(arrays["began"]), np.array(arrays["return"])
        self._sums = {int(row[0]): np.array(row[1:]) for row in np.asarray(arrays["sums"])}

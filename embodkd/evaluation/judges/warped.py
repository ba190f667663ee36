"""Dynamic time warping: which frames of two sentences that were said at another pace belong together."""

from __future__ import annotations

import numpy as np


def warped(cost_ST: np.ndarray) -> np.ndarray:
    """The pairs (s, t) of the path with the least sum of costs from the first pair to the last, (P, 2) int64.

    A step goes one on in s, in t or in both; of equal ways the one in both is taken.
    """
    first, second = cost_ST.shape
    total = np.full((first + 1, second + 1), np.inf)
    total[0, 0] = 0.0
    # along antidiagonals no value needs another one of its own
    for k in range(first + second - 1):
        s = np.arange(max(0, k - second + 1), min(k + 1, first))
        t = k - s
        total[s + 1, t + 1] = cost_ST[s, t] + np.minimum(total[s, t], np.minimum(total[s, t + 1], total[s + 1, t]))
    s, t = first - 1, second - 1
    path = [(s, t)]
    while s or t:
        back = total[s, t], total[s, t + 1], total[s + 1, t]
        step = int(np.argmin(back))
        s, t = s - (step != 2), t - (step != 1)
        path.append((s, t))
    return np.array(path[::-1], np.int64)

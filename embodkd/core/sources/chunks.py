"""Network calls of a fixed size: what an actor does in one copy of a task must not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

CHUNK = 32


def in_chunks(
    function: Callable[..., np.ndarray], obs: Mapping[str, np.ndarray], *beside: np.ndarray, chunk: int = CHUNK
) -> np.ndarray:
    """`function(obs, *beside)` of rows (n, ...), `chunk` at a time, the last chunk filled up with zeros.

    Matrix products of other sizes round differently in the last bits, which a contact can blow up: at a fixed size an
    episode's actions do not depend on how many others run beside it. A multiple of 16 also fills vector registers
    whole: what does not is computed by other code, which rounds the last row differently again.
    """
    count = len(next(iter(obs.values())))
    parts = []
    for start in range(0, count, chunk):
        here = slice(start, start + chunk)
        seen = {name: _filled(values[here], chunk) for name, values in obs.items()}
        parts.append(function(seen, *(_filled(values[here], chunk) for values in beside))[: count - start])
    return np.concatenate(parts)


def _filled(rows: np.ndarray, count: int) -> np.ndarray:
    """These rows (n, ...) and zeros below them, `count` in all."""
    missing = count - len(rows)
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)]) if missing else rows

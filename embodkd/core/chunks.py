"""Network calls of a fixed size: what an actor does in one copy of a task must not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

CHUNK = 32


def in_chunks(
    function: Callable[[dict[str, np.ndarray]], np.ndarray], arrays: Mapping[str, np.ndarray], chunk: int = CHUNK
) -> np.ndarray:
    """`function` of the rows of `arrays` (n, ...), `chunk` at a time, the last chunk filled up with zeros.

    Matrix products of other sizes round differently in the last bits, which a contact can blow up: at a fixed size an
    episode's actions do not depend on how many others run beside it. A multiple of 16 also fills vector registers
    whole: what does not is computed by other code, which rounds the last row differently again.
    """
    count = len(next(iter(arrays.values())))
    parts = []
    for start in range(0, count, chunk):
        rows = {name: values[start : start + chunk] for name, values in arrays.items()}
        real = min(chunk, count - start)
        if real < chunk:
            rows = {n: np.concatenate([v, np.zeros((chunk - real, *v.shape[1:]), v.dtype)]) for n, v in rows.items()}
        parts.append(function(rows)[:real])
    return np.concatenate(parts)

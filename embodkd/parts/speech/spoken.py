"""Sentences that a model is asked for, each without the padding of its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Signals, Utterances

_AT_ONCE = 16


def spoken(
    part: Utterances,
    rows: Sequence[int],
    ask: Callable[[Signals], Mapping[str, Tensor]],
    device: torch.device | str = "cpu",
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Spectrum (T, M) and durations (X,), in frames, of what `ask` answers to these rows of a part, batch by batch."""
    found = []
    for start in range(0, len(rows), _AT_ONCE):
        batch = part.gather(np.asarray(rows[start : start + _AT_ONCE], np.int64), 0).to(device)
        s = ask(batch)
        sizes = zip(batch["phoneme_mask"].sum(1).tolist(), s["frame_mask"].sum(1).tolist(), strict=True)
        for k, (phonemes, frames) in enumerate(sizes):
            found.append((s["mel"][k, :frames].float().cpu().numpy(), s["duration"][k, :phonemes].cpu().numpy()))
    return found

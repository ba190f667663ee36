"""A speaker at work: what it says to rows of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from embodkd.core import Role, Speech

_AT_ONCE = 16


def spoken(
    product: nn.Module, data: Speech, part: str, rows: Sequence[int], device: torch.device | str = "cpu"
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Spectrum (T, M) and durations (X,), in frames, of what `product` says by itself to these rows of a part."""
    judged, role, found = data.part(part), Role(product.to(device), "frozen"), []
    for start in range(0, len(rows), _AT_ONCE):
        batch = judged.gather(np.asarray(rows[start : start + _AT_ONCE], np.int64), 0).to(device)
        s = role.signals(batch)
        sizes = zip(batch["phoneme_mask"].sum(1).tolist(), s["frame_mask"].sum(1).tolist(), strict=True)
        for k, (phonemes, frames) in enumerate(sizes):
            found.append((s["mel"][k, :frames].float().cpu().numpy(), s["duration"][k, :phonemes].cpu().numpy()))
    return found

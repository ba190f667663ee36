"""What a model that speaks step by step and attends learns from: the next frames, when to stop, an even pace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from embodkd.core import Signals
from embodkd.parts.speech.alignment import off_diagonal

READS = ("phoneme", "phoneme_mask", "mel", "frame_mask")
"""What such a model is shown while it learns."""
MASS = {"mel": "frame_mask"}


def attending(student: Any, batch: Signals, s: Signals) -> Mapping[str, Tensor]:
    """mel: absolute errors of each frame; stop: cross-entropy of whether a step is a sentence's last one; pace: how far
    the attention is from an even one, which it begins to learn by. Means over a sentence's own steps, but for mel."""
    steps_N, attention_NSX = s["steps"], s["attention"]
    place_S = torch.arange(attention_NSX.shape[1], device=steps_N.device)
    here_NS = (place_S < steps_N[:, None]).to(attention_NSX)
    last_NS = (place_S == steps_N[:, None] - 1).to(attention_NSX)
    stop_NS = binary_cross_entropy_with_logits(s["stop"], last_NS, reduction="none")
    away_NSX = off_diagonal(steps_N, batch["phoneme_mask"].sum(1), *attention_NSX.shape[1:]).to(attention_NSX)
    return {
        "mel": (student.normal(s.mel_NTM) - student.normal(batch.mel_NTM)).abs().mean(-1),
        "stop": (stop_NS * here_NS).sum(1) / steps_N,
        "pace": ((attention_NSX * away_NSX).sum(-1) * here_NS).sum(1) / steps_N,
    }

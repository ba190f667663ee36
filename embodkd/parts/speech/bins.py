"""Pitch and energy in bins, so that a model can look their meaning up."""

from __future__ import annotations

from math import log
from typing import Literal

import torch
from torch import Tensor

BINS = 256
Quantiser = Literal["log", "mel"]


def log_bins(hz: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """How many of 255 edges, equally spaced in log Hz from `low` to `high`, lie below; 0 where there is no voice."""
    return linear_bins(hz.clamp(min=1e-9).log(), low.log(), high.log())


def linear_bins(value: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """How many of 255 edges, equally spaced from `low` to `high`, lie strictly below the value, int64."""
    share = torch.linspace(0.0, 1.0, BINS - 1, dtype=value.dtype, device=value.device)
    return torch.bucketize(value.detach().contiguous(), low.to(value) + share * (high - low).to(value))


def mel_bins(hz: Tensor, low: float = 50.0, high: float = 900.0) -> Tensor:
    """1 to 255, equally spaced on the scale 1127 ln(1 + f / 700) from 50 to 900 Hz; 1 where there is no voice."""
    lowest, highest = (1127.0 * log(1.0 + end / 700.0) for end in (low, high))
    place = 1.0 + 254.0 * (1127.0 * (hz.detach() / 700.0).log1p() - lowest) / (highest - lowest)
    return (place.clamp(1.0, 255.0) + 0.5).floor().long()

"""What an attention from frames to phonemes says of their durations (Ren et al., 2019), and what guides it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def focus_rate(attention_NHSX: Tensor, mask_NS: Tensor) -> Tensor:
    """How sure each head is: the mean over the steps that are there of its largest weight, (N, H)."""
    sure_NHS = attention_NHSX.amax(-1) * mask_NS[:, None].to(attention_NHSX)
    return sure_NHS.sum(-1) / mask_NS.sum(1)[:, None]


def durations(attention_NHSX: Tensor, steps_N: Tensor) -> Tensor:
    """For how many of its first `steps` steps each phoneme has the largest weight of the surest head, int64 (N, X)."""
    mask_NS = torch.arange(attention_NHSX.shape[2], device=steps_N.device) < steps_N[:, None]
    head_N = focus_rate(attention_NHSX, mask_NS).argmax(1)
    best_NSX = attention_NHSX[torch.arange(len(head_N), device=head_N.device), head_N]
    return (one_hot(best_NSX.argmax(-1), best_NSX.shape[-1]) * mask_NS[:, :, None]).sum(1)


def in_frames(duration_NX: Tensor, per_step: int, frames_N: Tensor) -> Tensor:
    """Steps of `per_step` frames as frames, of which the last step may have fewer; the sums are `frames`."""
    found_NX = duration_NX * per_step
    over_N = found_NX.sum(1) - frames_N
    last_NX = (found_NX > 0) & (found_NX.flip(1).cumsum(1).flip(1) == found_NX)
    return found_NX - last_NX * over_N[:, None]


def off_diagonal(steps_N: Tensor, phonemes_N: Tensor, steps: int, phonemes: int, width: float = 0.2) -> Tensor:
    """How far each place is from an even pace, from 0 to 1, (N, steps, phonemes).

    1 - exp(-(x / X - s / S)^2 / (2 width^2)) (Tachibana et al., 2018).
    """
    at_NS = torch.arange(steps, device=steps_N.device) / steps_N[:, None]
    at_NX = torch.arange(phonemes, device=steps_N.device) / phonemes_N[:, None]
    return 1.0 - (-(at_NX[:, None] - at_NS[:, :, None]).square() / (2 * width**2)).exp()

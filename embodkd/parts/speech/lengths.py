"""Between phonemes and frames: each phoneme's state as often as it lasts, and means over what it lasts."""

from __future__ import annotations

import torch
from torch import Tensor


def regulated(state_NXD: Tensor, duration_NX: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
    """Each state as often as its duration says, one after the other, then zeros: (N, T, D), and where they are (N, T).

    T is the longest sum of durations, or `frames`. Gradients reach the states; the durations are whole numbers.
    """
    place_NT, there_NT = owners(duration_NX, frames)
    long_NTD = state_NXD.gather(1, place_NT[:, :, None].expand(-1, -1, state_NXD.shape[2]))
    return long_NTD * there_NT[:, :, None].to(long_NTD), there_NT


def owners(duration_NX: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
    """To which phoneme each frame belongs, int64 (N, T), the last one's number behind the end; where frames are."""
    end_NX = duration_NX.cumsum(1)
    length_N = end_NX[:, -1]
    time_T = torch.arange(int(length_N.max()) if frames is None else frames, device=duration_NX.device)
    place_NT = torch.searchsorted(end_NX, time_T.expand(len(end_NX), -1).contiguous(), right=True)
    return place_NT.clamp(max=duration_NX.shape[1] - 1), time_T < length_N[:, None]


def mean_per_phoneme(value_NT: Tensor, counts_NT: Tensor, duration_NX: Tensor) -> Tensor:
    """The mean of the values that count over the frames of each phoneme, 0 where there is none, (N, X)."""
    place_NT, there_NT = owners(duration_NX, value_NT.shape[1])
    weight_NT = (there_NT & counts_NT).to(value_NT)
    zero_NX = value_NT.new_zeros(duration_NX.shape)
    sum_NX = zero_NX.scatter_add(1, place_NT, value_NT * weight_NT)
    return sum_NX / zero_NX.scatter_add(1, place_NT, weight_NT).clamp(min=1.0)


def frames_of(log_duration_NX: Tensor, mask_NX: Tensor, longest: int = 100) -> Tensor:
    """round(exp(log d) - 1), from 0 to `longest`, 0 outside the mask, int64 (N, X); at least one frame in all."""
    duration_NX = log_duration_NX.detach().float().clamp(max=8.0).exp().sub(1.0).round().clamp(0, longest).long()
    duration_NX = duration_NX * mask_NX
    first_NX = torch.zeros_like(duration_NX)
    first_NX[:, 0] = duration_NX.sum(1) == 0
    return duration_NX + first_NX


def scaled_gradient(x: Tensor, share: float | Tensor) -> Tensor:
    """x itself, of whose gradient only this share goes back."""
    return x.detach() + share * (x - x.detach())

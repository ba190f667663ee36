"""Sampling noise that is a function of what a policy sees, so that sampling acts deterministically.

The same observation draws the same noise in a batch of one and of a thousand, in any step, before and after export.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN, _MIX_A, _MIX_B = 0x9E3779B9, 0x7FEB352D, 0x846CA68B
_32_BITS = 0xFFFFFFFF
# Numbers are told apart from 15 micrometres (or radians, ...) on. A power of two: this scaling rounds nothing.
_FINENESS = 2.0**16


def noise_of(seen_ND: Tensor, count: int) -> Tensor:
    """`count` standard normal numbers per row, float32 (N, count): a hash of the row's numbers and of nothing else."""
    # Integers held in 64 bits, of which the lower 32 count: plain operations that every export format has.
    place_D = torch.arange(seen_ND.shape[1], device=seen_ND.device) * _GOLDEN
    whole_ND = (seen_ND * _FINENESS).round().to(torch.int64)
    seed_N = _mix(_mix(whole_ND + place_D).sum(1))
    counter_K = (torch.arange(2 * count, device=seen_ND.device) + 1) * _GOLDEN
    bits_NK = _mix(seed_N[:, None] + counter_K)
    # 24 bits fit a float32 exactly; one more than they say, so that the logarithm is finite.
    unit_NK = ((bits_NK >> 8) + 1).to(torch.float32) * 2.0**-24
    radius_NK = torch.sqrt(-2.0 * torch.log(unit_NK[:, :count]))
    return radius_NK * torch.cos(2.0 * math.pi * unit_NK[:, count:])


def _mix(state: Tensor) -> Tensor:
    """32 bits mixed well (lowbias32 of C. Wellons, hash-prospector, public domain)."""
    state = state & _32_BITS
    state = ((state ^ (state >> 16)) * _MIX_A) & _32_BITS
    state = ((state ^ (state >> 15)) * _MIX_B) & _32_BITS
    return state ^ (state >> 16)

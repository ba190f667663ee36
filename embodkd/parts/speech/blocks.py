"""Layers over sequences that are padded: what stands behind the end changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sines and cosines of each place (Vaswani et al., 2017), (length, width)."""
    time_T1 = torch.arange(length, device=like.device, dtype=like.dtype)[:, None]
    slow = torch.arange(0, width, 2, device=like.device, dtype=like.dtype) * (-9.210340371976184 / width)
    angle_TF = time_T1 * slow.exp()
    return torch.stack([angle_TF.sin(), angle_TF.cos()], 2).flatten(1)[:, :width]


class FFTBlock(nn.Module):
    """Self-attention, then a convolution of `kernel` places and one of a single place, each added and normalised."""

    def __init__(self, width: int, heads: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Conv1d(width, hidden, kernel, padding=kernel // 2)
        self.narrow = nn.Conv1d(hidden, width, 1)
        self.norm1, self.norm2, self.dropout = nn.LayerNorm(width), nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        """(N, T, D), zeros behind the ends."""
        keep_NT1 = mask_NT[:, :, None].to(x_NTD)
        query, key, value = self.inward(x_NTD).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value, mask_NT[:, None, None])
        x_NTD = self.norm1(x_NTD + self.dropout(self.outward(seen.transpose(1, 2).flatten(2)))) * keep_NT1
        # contiguous: dropout draws in the order of memory, which is to be that of the items
        hidden_NTD = self.narrow(self.wide(x_NTD.transpose(1, 2)).relu()).transpose(1, 2).contiguous()
        return self.norm2(x_NTD + self.dropout(hidden_NTD)) * keep_NT1


class Stack(nn.Module):
    """Places are added, then come `depth` blocks."""

    def __init__(self, depth: int, width: int, heads: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FFTBlock(width, heads, hidden, kernel, dropout) for _ in range(depth))

    def forward(self, x_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        """(N, T, D), zeros behind the ends."""
        x_NTD = (x_NTD + positions(x_NTD.shape[1], x_NTD.shape[2], x_NTD)) * mask_NT[:, :, None].to(x_NTD)
        for block in self.blocks:
            x_NTD = block(x_NTD, mask_NT)
        return x_NTD


class Predictor(nn.Module):
    """Twice a convolution over three places, ReLU, layer norm and dropout; then `out` numbers for each place."""

    def __init__(self, width: int, hidden: int, out: int, dropout: float) -> None:
        super().__init__()
        sizes = (width, hidden, hidden)
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 3, padding=1) for a, b in zip(sizes, sizes[1:], strict=False))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in self.convs)
        self.dropout, self.last = nn.Dropout(dropout), nn.Linear(hidden, out)

    def forward(self, x_NTD: Tensor, mask_NT: Tensor) -> Tensor:
        """(N, T, out), zeros behind the ends."""
        keep_NT1 = mask_NT[:, :, None].to(x_NTD)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x_NTD = self.dropout(norm(conv(x_NTD.transpose(1, 2)).transpose(1, 2).relu())) * keep_NT1
        found: Tensor = self.last(x_NTD) * keep_NT1
        return found

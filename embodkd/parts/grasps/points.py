"""What clouds of points are turned into: layers that all points share, a maximum over them (PointNet, CVPR 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PointFeatures(nn.Module):
    """points (N, P, 3), metres -> features of every point (N, P, `local`) and of the cloud (N, `size`).

    scale: metres become roughly unit size.
    """

    def __init__(self, local: int = 64, size: int = 256, scale: float = 10.0) -> None:
        super().__init__()
        self.scale = scale
        self.each = nn.Sequential(nn.Linear(3, local), nn.ReLU(), nn.Linear(local, local), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(local, size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, points_NP3: Tensor, there_NP: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both features; there_NP, bool: points that are no padding (each cloud has one at least)."""
        local_NPL = self.each(points_NP3 * self.scale)
        cloud_NPF = self.all(local_NPL)
        if there_NP is not None:
            cloud_NPF = cloud_NPF.masked_fill(~there_NP[..., None], -torch.inf)
        return local_NPL, cloud_NPF.amax(1)

"""How far two clouds of points are apart, and an auto-encoder of clouds that is trained by it (UniDexGrasp++)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embodkd.parts.grasps.points import PointFeatures


def chamfer(a_NP3: Tensor, b_NQ3: Tensor) -> Tensor:
    """(N,): squared distances of each point to the nearest of the other cloud, summed over points and directions."""
    # differences, not the expansion of the square, which is below zero near zero
    squared_NPQ = (a_NP3[:, :, None] - b_NQ3[:, None]).square().sum(-1)
    return squared_NPQ.amin(2).sum(1) + squared_NPQ.amin(1).sum(1)


class PointAutoEncoder(nn.Module):
    """A cloud (N, P, 3) -> a code (N, `code`) -> a cloud of `points` points (N, points, 3), all in metres."""

    def __init__(self, code: int = 128, points: int = 256, width: int = 256, scale: float = 10.0) -> None:
        super().__init__()
        self.encoder = PointFeatures(size=code, scale=scale)
        self.scale, self.points = scale, points
        self.decoder = nn.Sequential(
            nn.Linear(code, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3 * points)
        )

    def encode(self, points_NP3: Tensor) -> Tensor:
        """The code (N, code): the same whatever the order of the points."""
        return self.encoder(points_NP3)[1]

    def forward(self, points_NP3: Tensor) -> Tensor:
        """The cloud (N, points, 3) that its code says."""
        return self.decoder(self.encode(points_NP3)).unflatten(-1, (self.points, 3)) / self.scale


def reconstruction(model: PointAutoEncoder, points_NP3: Tensor) -> Tensor:
    """The auto-encoder's loss per cloud (N,), in its own units so that gradients are of ordinary size."""
    return chamfer(model(points_NP3) * model.scale, points_NP3 * model.scale)


@torch.no_grad()
def codes(model: PointAutoEncoder, points_NP3: Tensor, piece: int = 256) -> Tensor:
    """The codes (N, code) of many clouds, `piece` at a time."""
    return torch.cat([model.encode(part) for part in points_NP3.split(piece)])

"""GraspIPDF: how likely each rotation of the hand is, seen the object (UniDexGrasp, section 4.1; Murphy et al. 2021).

The network scores single rotations; a density comes of it by dividing by the sum over many that share SO(3) out evenly.
Rotations are those that turn the table's frame into the hand's, S = (hand's rotation)^T, in training as in sampling:
the released code trains on the untransposed rotation of the mesh's frame and samples the other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from embodkd.parts.grasps.points import PointFeatures
from embodkd.parts.grasps.rotations import grid, random_rotations

VOLUME = math.pi**2  # of SO(3)


def ipdf_nll(logits_NM: Tensor) -> Tensor:
    """-log density (N,) of the rotation in the last column, the others being drawn so that all share SO(3) out evenly.

    The density is softmax * M / pi^2; constant logits give log(pi^2).
    """
    count = logits_NM.shape[1]
    return -(logits_NM.log_softmax(1)[:, -1] + math.log(count / VOLUME))


def probabilities(logits_NM: Tensor, twice: bool = False) -> Tensor:
    """With which probability (N, M) each rotation of a grid is drawn.

    twice: as the released code, which passes the density through a second softmax: nearly even while all probabilities
    are small, nearly always the best one from .05 on.
    """
    once_NM = logits_NM.softmax(1)
    return (once_NM * (logits_NM.shape[1] / VOLUME)).softmax(1) if twice else once_NM


def queries(rotation_N33: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """(N, count, 3, 3): even draws Q_j turned as a whole so that the last is the given one, Q_j Q_last^T R."""
    drawn_M33 = random_rotations(count, rotation_N33, generator)
    turned_NMij = drawn_M33 @ (drawn_M33[-1].T @ rotation_N33)[:, None]
    # exactly, not but for rounding
    return torch.cat([turned_NMij[:, :-1], rotation_N33[:, None]], 1)


class GraspIPDF(nn.Module):
    """points (N, P, 3) and rotations (N, M, 3, 3) -> scores (N, M).

    A rotation enters by sine and cosine of its nine entries alone. norm: batch normalisation in the two inner layers.
    """

    def __init__(self, feature: int = 128, width: int = 256, norm: bool = True) -> None:
        super().__init__()
        self.points = PointFeatures(size=feature)
        self.of_points, self.of_rotation = nn.Linear(feature, width), nn.Linear(18, width)
        inner: list[nn.Module] = []
        for _ in range(2):
            inner += [nn.Linear(width, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
        self.inner = nn.Sequential(*inner, nn.Linear(width, 1))

    def forward(self, points_NP3: Tensor, rotation_NM33: Tensor) -> Tensor:
        """Scores (N, M): logarithms of densities, but for a constant of each cloud."""
        feature_NF = self.of_points(self.points(points_NP3)[1])
        entries_NM9 = rotation_NM33.flatten(2)
        turn_NMF = self.of_rotation(torch.cat([entries_NM9.sin(), entries_NM9.cos()], -1))
        h_NMF = torch.relu(feature_NF[:, None] + turn_NMF)
        return self.inner(h_NMF.flatten(0, 1)).view(h_NMF.shape[:2])

    def loss(self, points_NP3: Tensor, rotation_N33: Tensor, count: int = 4096) -> Tensor:
        """-log density (N,) of the rotations that were grasped with."""
        return ipdf_nll(self(points_NP3, queries(rotation_N33, count)))

    @torch.no_grad()
    def sample(
        self,
        points_NP3: Tensor,
        draws: int,
        level: int = 2,
        twice: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(N, draws, 3, 3) of the grid of 72 * 8 ** level rotations, and their densities (N, draws)."""
        grid_M33 = grid(level).to(points_NP3)
        logits_NM = self(points_NP3, grid_M33.expand(len(points_NP3), -1, -1, -1))
        chosen_ND = probabilities(logits_NM, twice).multinomial(draws, replacement=True, generator=generator)
        density_NM = probabilities(logits_NM) * (len(grid_M33) / VOLUME)
        return grid_M33[chosen_ND], density_NM.gather(1, chosen_ND)

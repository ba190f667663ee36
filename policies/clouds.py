"""Clouds of points (N, P, 3) as a student learns from them: fewer points, some lost, none quite where it is."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core.transfer import sent


def thinned(points_NP3: Tensor, sample: int, noise: float = 0.0, lost: float = 0.0) -> Tensor:
    """`sample` random points, the same ones for all rows, each a normal distance of `noise` metres off along each axis.

    A share `lost` of them, drawn for every row by itself, is not seen: another point of the row stands in its place,
    which a maximum over points does not notice.
    """
    if sample < points_NP3.shape[1]:
        chosen = torch.randperm(points_NP3.shape[1])[:sample]
        points_NP3 = points_NP3.index_select(1, sent(chosen, points_NP3.device))
    if noise > 0:
        points_NP3 = points_NP3 + noise * torch.randn_like(points_NP3)
    if lost > 0:
        seen_NP = torch.rand(points_NP3.shape[:2], device=points_NP3.device) >= lost
        first_N = seen_NP.int().argmax(1)
        stand_in_N13 = points_NP3.take_along_dim(first_N[:, None, None], 1)
        points_NP3 = torch.where(seen_NP[..., None], points_NP3, stand_in_N13)
    return points_NP3


def farthest(points_NP3: Tensor, count: int) -> Tensor:
    """`count` points (N, count, 3) that cover the cloud: each is the farthest from those before.

    The first is the farthest from the middle of the cloud's box, so that neither order nor repeated points matter.
    """
    with torch.no_grad():
        middle_N13 = 0.5 * (points_NP3.amin(1, keepdim=True) + points_NP3.amax(1, keepdim=True))
        away_NP = (points_NP3 - middle_N13).square().sum(-1)
        found = []
        for k in range(count):
            pick_N13 = points_NP3.gather(1, away_NP.argmax(1)[:, None, None].expand(-1, 1, 3))
            found.append(pick_N13)
            near_NP = (points_NP3 - pick_N13).square().sum(-1)
            away_NP = near_NP if k == 0 else torch.minimum(away_NP, near_NP)
    return torch.cat(found, 1)

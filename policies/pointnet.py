"""A student on a point cloud: one small network shared by all points, a maximum over them (PointNet, CVPR 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from embodkd.policies.base import POLICIES, Policy, dense
from embodkd.policies.clouds import thinned
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, NotNegative, Positive, Share, Width


@POLICIES.register("pointnet", modality="points")
class PointNet(Policy):
    """Points (N, P, 3) in metres, times `scale`, through shared layers `widths`, maximum over points, proprioception.

    In training mode each forward pass takes `sample` random points, the same ones for all rows (2.7 times faster, and
    the maximum does not learn to hang on single points), `noise` metres off, a share `lost` unseen; in evaluation mode
    it takes all of them as they are.
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        points: str = "points",
        vectors: tuple[str, ...] = ("proprio",),
        widths: tuple[Width, ...] = (48, 96),
        hidden: tuple[Width, ...] = (256, 256),
        scale: Positive = 20.0,
        sample: Count = 192,
        noise: NotNegative = 0.0,
        lost: Share = 0.0,
    ) -> None:
        super().__init__(action_size)
        self._read(groups, vectors, (points,), rank=2)
        self.points, self.scale = points, scale
        self.sample, self.noise, self.lost = sample, noise, lost
        self.shared = nn.Sequential(dense([self.inputs[points].shape[1], *widths], nn.ReLU), nn.ReLU())
        self.head = dense([widths[-1] + self.normaliser.size, *hidden, action_size], nn.ReLU)

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Mean action (N, A)."""
        points_NP3 = obs[self.points]
        if self.training:
            points_NP3 = thinned(points_NP3, self.sample, self.noise, self.lost)
        cloud_NF = self.shared(points_NP3 * self.scale).amax(1)
        return self.head(torch.cat([cloud_NF, self.vector(obs)], dim=1))

"""A student on a point cloud: patches of points that attend to each other and to the joints (after UniDexGrasp++).

The published one has a patch per mask (hand, object, rest). Here patches are the points nearest to a few that cover the
cloud, so that no masks are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from embodkd.policies.base import POLICIES, Policy, dense
from embodkd.policies.clouds import farthest, thinned
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, NotNegative, Positive, Share, Width


class _Block(nn.Module):
    """Attention and a small network, each added to what it was given, normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x_NTW: Tensor) -> Tensor:
        parts = self.attend(self.before(x_NTW)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed_NHTD = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        x_NTW = x_NTW + self.out(mixed_NHTD.transpose(1, 2).flatten(2))
        return x_NTW + self.inner(self.after(x_NTW))


@POLICIES.register("point_transformer", modality="points")
class PointTransformer(Policy):
    """Points (N, P, 3) in metres -> `patches` tokens and one of the joints, `blocks` of attention, the joints' token.

    Each point belongs to the nearest of the `patches` points that cover the cloud; a patch is the maximum over its
    points of a small network of place and offset. Order and repetition of points do not matter. scale, sample, noise
    and lost as in `pointnet`.
    """

    def __init__(
        self,
        groups: Mapping[str, Any],
        action_size: int,
        *,
        points: str = "points",
        vectors: tuple[str, ...] = ("proprio",),
        patches: Count = 12,
        width: Width = 64,
        blocks: Count = 2,
        heads: Count = 4,
        hidden: tuple[Width, ...] = (256, 256),
        scale: Positive = 20.0,
        sample: Count = 192,
        noise: NotNegative = 0.0,
        lost: Share = 0.0,
    ) -> None:
        super().__init__(action_size)
        if width % heads:
            raise ValueError(
                f"policy point_transformer: width={width} does not split into heads={heads}; take a multiple"
            )
        self._read(groups, vectors, (points,), rank=2)
        if self.inputs[points].shape[1] != 3:
            raise ValueError(
                f"policy point_transformer: points of group {points!r} have more than a place; take pointnet"
            )
        self.points, self.patches, self.scale = points, patches, scale
        self.sample, self.noise, self.lost = sample, noise, lost
        self.each = nn.Sequential(dense([6, width, width], nn.ReLU), nn.ReLU())
        self.patch, self.place = nn.Linear(width, width), nn.Linear(3, width)
        self.joints = nn.Linear(self.normaliser.size, width)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(blocks)), nn.LayerNorm(width))
        self.head = dense([width + self.normaliser.size, *hidden, action_size], nn.ReLU)

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Mean action (N, A)."""
        points_NP3 = obs[self.points]
        if self.training:
            points_NP3 = thinned(points_NP3, self.sample, self.noise, self.lost)
        points_NP3 = points_NP3 * self.scale
        centre_NC3 = farthest(points_NP3, self.patches)
        owner_NP = (points_NP3[:, :, None] - centre_NC3[:, None]).square().sum(-1).argmin(2)
        offset_NP3 = points_NP3 - centre_NC3.gather(1, owner_NP[..., None].expand(-1, -1, 3))
        each_NPW = self.each(torch.cat([points_NP3, offset_NP3], -1))
        # features are not negative: a patch that owns no point, of a cloud of few places, is zero
        patch_NCW = each_NPW.new_zeros(*centre_NC3.shape[:2], each_NPW.shape[-1])
        patch_NCW = patch_NCW.scatter_reduce(1, owner_NP[..., None].expand_as(each_NPW), each_NPW, "amax")
        joints_ND = self.vector(obs)
        token_NTW = torch.cat([self.joints(joints_ND)[:, None], self.patch(patch_NCW) + self.place(centre_NC3)], 1)
        return self.head(torch.cat([self.blocks(token_NTW)[:, 0], joints_ND], 1))

"""Anchors that come where Gaussians are pulled at, and go where nothing is seen (Scaffold-GS's densify and prune)."""

from __future__ import annotations

import torch
from torch import Tensor

from embodkd.core import Context
from embodkd.parts.splats.anchors import Anchors

_LOOKS = 20  # into a picture, before an anchor is judged


class Grow:
    """A step that lets `anchors` grow and go, and begins to count anew.

    voxel: metres; where a Gaussian's mean gradient is above `pull`, its place's voxel gets an anchor with its anchor's
    features, unless there is one. Anchors whose Gaussians have together less than `opacity` on the average go. There
    are never more than `most`, and never none. Of several processes the first one's counts decide for all.
    """

    def __init__(self, anchors: Anchors, *, voxel: float, pull: float, opacity: float, most: int) -> None:
        self.anchors, self.voxel, self.pull, self.opacity, self.most = anchors, voxel, pull, opacity, most
        anchors.watched = True

    @torch.no_grad()
    def __call__(self, context: Context) -> dict[str, float]:
        """Grow; how many came, went and are there."""
        anchors = self.anchors
        seen_A = anchors.looked >= _LOOKS
        keep_A = ~(seen_A & (anchors.dense < self.opacity * anchors.looked))
        if not keep_A.any():
            keep_A[:] = True
        owner_N, place_N3 = self._wanted(keep_A)
        room = max(0, self.most - int(keep_A.sum()))
        owner_N, place_N3 = owner_N[:room], place_N3[:room]
        kept_K = keep_A.nonzero().squeeze(1)
        fresh = {
            "position": place_N3,
            "feature": anchors.feature[owner_N],
            "size": anchors.size.new_full((len(owner_N), 6), self.voxel).log(),
        }
        anchors.regrow(torch.cat([kept_K, kept_K.new_full((len(owner_N),), -1)]), fresh)
        for count in (anchors.pull, anchors.pulled, anchors.dense, anchors.looked):
            count.zero_()
        there = float(len(anchors.position))
        return {
            "growth/came": float(len(owner_N)),
            "growth/went": float((~keep_A).sum()),
            "growth/anchors": there,
        }

    def _wanted(self, keep_A: Tensor) -> tuple[Tensor, Tensor]:
        """The anchors (N,) whose Gaussians ask for another one, and its place (N, 3); those pulled at most first."""
        anchors = self.anchors
        mean_AK = anchors.pull / anchors.pulled.clamp(min=1.0)
        asks_AK = mean_AK > self.pull
        order_M = mean_AK[asks_AK].argsort(descending=True, stable=True)
        owner_M = asks_AK.nonzero()[:, 0][order_M]
        voxel_M3 = (anchors.centres()[asks_AK][order_M] / self.voxel).round()
        taken = set(map(tuple, (anchors.position[keep_A] / self.voxel).round().tolist()))
        first = []
        for k, voxel in enumerate(map(tuple, voxel_M3.tolist())):
            if voxel not in taken:
                taken.add(voxel)
                first.append(k)
        return owner_M[first], voxel_M3[first] * self.voxel

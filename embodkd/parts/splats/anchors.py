"""Anchors of a scene: places with features around which a decoder puts Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodkd.core import Growing
from embodkd.parts.splats.project import Pinhole, before


class Anchors(Growing):
    """position (A, 3), which stays; feature (A, F); offset (A, K, 3), in units of an anchor's own size; size (A, 6),
    logarithms: the first three numbers stretch the offsets, the others bound the Gaussians.

    watched: whether to count what growth asks for. Of each, since it last grew: pull (A, K), the gradients of the
    Gaussians' centres in the picture; pulled (A, K), how often they were drawn; dense (A,), opacity; looked (A,), how
    often it was in view.
    """

    per_row = ("position", "feature", "offset", "size", "pull", "pulled", "dense", "looked")
    position: Tensor
    pull: Tensor
    pulled: Tensor
    dense: Tensor
    looked: Tensor
    watched = False

    def __init__(self, position_A3: Tensor, features: int, offsets: int) -> None:
        super().__init__()
        count = len(position_A3)
        self.register_buffer("position", position_A3.clone())
        self.feature = nn.Parameter(torch.zeros(count, features))
        self.offset = nn.Parameter(torch.zeros(count, offsets, 3))
        self.size = nn.Parameter(torch.zeros(count, 6))
        for name, shape in {"pull": (count, offsets), "pulled": (count, offsets)}.items():
            self.register_buffer(name, torch.zeros(shape))
        for name in ("dense", "looked"):
            self.register_buffer(name, torch.zeros(count))
        self.at(position_A3)

    @torch.no_grad()
    def at(self, position_A3: Tensor) -> None:
        """Put them there, as large as the mean distance to the three nearest others."""
        self.position.copy_(position_A3)
        self.size.copy_(spacing(position_A3).log()[:, None].expand(-1, 6))

    def inputs(self, place_N3: Tensor) -> Tensor:
        """What a decoder looks at from these places, (N, A, F + 3)."""
        direction_NA3 = functional.normalize(self.position - place_N3[:, None], dim=-1)
        return torch.cat([self.feature.expand(len(place_N3), -1, -1), direction_NA3], -1)

    def centres(self) -> Tensor:
        """Of the Gaussians, (A, K, 3)."""
        return self.position[:, None] + self.offset * self.size[:, None, :3].exp()

    def bound(self) -> Tensor:
        """Of the Gaussians' standard deviations, (A, 3)."""
        return self.size[:, 3:].exp()

    def watch(self, centre_G2: Tensor, opacity_AK: Tensor, view_A: Tensor, drawn_AK: Tensor, camera: Pinhole) -> None:
        """Count what one view shows, and, when its gradient comes, how it pulls at the centres of what is drawn."""
        self.looked += view_A
        self.dense += (opacity_AK.detach().clamp(min=0.0) * view_A[:, None]).sum(1)
        # in halves of the picture's sides, as rasterisers have them
        half_2 = centre_G2.new_tensor([camera.width / 2, camera.height / 2])

        def pulled(gradient_G2: Tensor) -> None:
            pull_G = (gradient_G2 * half_2).norm(dim=1)
            self.pull[drawn_AK] += pull_G
            self.pulled[drawn_AK] += (pull_G > 0).to(self.pulled)

        centre_G2.register_hook(pulled)

    def visible(self, camera: Pinhole) -> Tensor:
        """Which are before the camera and about in its picture, bool (A,)."""
        return before(self.position, camera)


def spacing(points_P3: Tensor) -> Tensor:
    """The mean distance of each point to its three nearest others (fewer where there are none), (P,), at least 1 mm."""
    near = torch.cdist(points_P3, points_P3).topk(min(4, len(points_P3)), largest=False)[0][:, 1:]
    return near.mean(1).nan_to_num(1.0).clamp(min=1e-3)


def spread(points_P3: Tensor, count: int) -> Tensor:
    """Which `count` points lie farthest from each other: each the farthest from those before it; the first is point 0.

    ValueError if there are not so many.
    """
    if count > len(points_P3):
        raise ValueError(f"{count} anchors were asked for where {len(points_P3)} points are known: give fewer")
    chosen = points_P3.new_zeros(count, dtype=torch.int64)
    away_P = points_P3.new_full((len(points_P3),), torch.inf)
    for k in range(1, count):
        away_P = away_P.minimum((points_P3 - points_P3[chosen[k - 1]]).square().sum(1))
        chosen[k] = away_P.argmax()
    return chosen

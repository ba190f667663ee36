"""A scene in blocks: the anchors of each, the decoders that make Gaussians of them, and what cameras see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from embodkd.core.sources.views import beyond, cell_of
from embodkd.parts.splats.anchors import Anchors, spread
from embodkd.parts.splats.decoder import Decoder
from embodkd.parts.splats.project import Gaussians, Pinhole
from embodkd.parts.splats.render import Renderer, render


class BlockScene(nn.Module):
    """{"pose": (N, 4, 4), "intrinsics": (N, 4)} -> {"image": (N, 3, H, W)}, the whole scene.

    Its subclass sets the attributes below: the scene's shape, box and cells, see `Views`; of `count` blocks each has
    `Anchors`, `anchors` in its own cell and `margin` more outside it, no farther than `reach` metres, which learn with
    it and are no part of the whole scene. There is one `Decoder`, or one for each block.

    With "block": B in the input it is block B alone, margin included, and gives more: `input` (N, A, F + 3) and `size`
    (N, A, 3), what the decoder was asked; `opacity`, `colour`, `scale`, `rotation`, what it answered; `view` (N, A)
    bool, the anchors in the picture, and `drawn` (N, A, K) bool, the Gaussians that are not empty there.
    """

    shape: tuple[int, ...]
    box: tuple[tuple[float, ...], ...]
    cells: tuple[int, ...]
    count: int
    anchors: int
    margin: int
    reach: float
    renderer: Renderer
    blocks: nn.ModuleList
    decoders: nn.ModuleList

    def decoder(self, block: int) -> Decoder:
        """The one that makes this block's Gaussians."""
        found = self.decoders[block if len(self.decoders) > 1 else 0]
        assert isinstance(found, Decoder)
        return found

    def of(self, block: int) -> Anchors:
        """The anchors of this block."""
        found = self.blocks[block]
        assert isinstance(found, Anchors)
        return found

    def place(self, points_P3: Tensor) -> None:
        """Put the anchors at points of the scene's surfaces, as far from each other as these allow.

        ValueError if a block has fewer points than anchors.
        """
        for number in range(self.count):
            away_P = self.away(points_P3, number)
            own, near = points_P3[away_P == 0], points_P3[(away_P > 0) & (away_P <= self.reach)]
            chosen = [own[spread(own, self.anchors)]]
            if self.count > 1 and self.margin:
                chosen.append(near[spread(near, self.margin)])
            self.of(number).at(torch.cat(chosen).to(self.of(number).position))

    def away(self, points_P3: Tensor, block: int) -> Tensor:
        """How far outside a block each point lies, (P,) metres; 0 inside, of which the border of two has one only."""
        if self.count == 1:
            return points_P3.new_zeros(len(points_P3))
        away_P = beyond(points_P3, block, self.box, self.cells)
        inside_P = cell_of(points_P3, self.box, self.cells) == block
        return away_P.clamp(min=1e-6).where(~inside_P, 0.0)

    def forward(self, x: Mapping[str, Any]) -> dict[str, Tensor]:
        """The whole scene, or one block."""
        cameras = [
            Pinhole(pose, inner, *self.shape[1:]) for pose, inner in zip(x["pose"], x["intrinsics"], strict=True)
        ]
        if "block" in x:
            return self._block(x["block"], cameras)
        views = [_joined([self._kept(block, camera) for block in range(self.count)]) for camera in cameras]
        pictures = [render(splats, camera, self.renderer)[0] for splats, camera in zip(views, cameras, strict=True)]
        return {"image": torch.stack(pictures)}

    def _kept(self, block: int, camera: Pinhole) -> Gaussians:
        """The Gaussians of the block's own cell."""
        anchors = self.of(block)
        answer, _ = self._asked(block, [camera])
        drawn_AK = (self.away(anchors.position, block) == 0)[:, None] & (answer["opacity"][0] > 0)
        return _of(anchors, answer, 0, drawn_AK & anchors.visible(camera)[:, None])

    def _block(self, block: int, cameras: Sequence[Pinhole]) -> dict[str, Tensor]:
        anchors = self.of(block)
        answer, asked = self._asked(block, cameras)
        view_NA = torch.stack([anchors.visible(camera) for camera in cameras])
        drawn_NAK = view_NA[..., None] & (answer["opacity"] > 0)
        pictures = []
        for n, camera in enumerate(cameras):
            picture, centre_G2 = render(_of(anchors, answer, n, drawn_NAK[n]), camera, self.renderer)
            if anchors.watched and centre_G2.requires_grad:
                anchors.watch(centre_G2, answer["opacity"][n], view_NA[n], drawn_NAK[n], camera)
            pictures.append(picture)
        return {"image": torch.stack(pictures), "view": view_NA, "drawn": drawn_NAK, **asked, **answer}

    def _asked(self, block: int, cameras: Sequence[Pinhole]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the block's decoder answers, and what it was asked."""
        anchors = self.of(block)
        input_NAD = anchors.inputs(torch.stack([camera.pose[:3, 3] for camera in cameras]))
        asked = {"input": input_NAD, "size": anchors.bound().expand(len(cameras), -1, -1)}
        answer: dict[str, Tensor] = self.decoder(block)(asked)
        return answer, asked

    def merge(self) -> None:
        """Leave out the anchors outside their block's own cell: the whole scene stays what it is."""
        for number in range(self.count):
            anchors = self.of(number)
            anchors.regrow((self.away(anchors.position, number) == 0).nonzero().squeeze(1))


def _of(anchors: Anchors, answer: Mapping[str, Tensor], view: int, drawn_AK: Tensor) -> Gaussians:
    """The Gaussians that are drawn in one of the views."""
    names = ("scale", "rotation", "opacity", "colour")
    return Gaussians(anchors.centres()[drawn_AK], *(answer[name][view][drawn_AK] for name in names))


def _joined(several: Sequence[Gaussians]) -> Gaussians:
    return Gaussians(*(torch.cat(each) for each in zip(*several, strict=True)))

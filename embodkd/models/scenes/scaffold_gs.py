"""Scaffold-GS in blocks: anchors of each part of a scene, and the decoders that make Gaussians of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from embodkd.core.config.ranges import Count, Positive, Whole, Width
from embodkd.core.runs.artefact import golden_unit
from embodkd.models.base import MODELS, Model
from embodkd.parts.splats.anchors import Anchors
from embodkd.parts.splats.decoder import Decoder
from embodkd.parts.splats.render import Renderer, kernels
from embodkd.parts.splats.scene import BlockScene


@MODELS.register("scaffold_gs", title="anchors and decoders of 3-D Gaussians, in blocks")
class ScaffoldGS(Model, BlockScene):
    """A `BlockScene`: what it reads and gives, and how a block is asked for, stands there.

    Each cell of the scene is a block; blocks="one" makes a single one of all cells. decoders="blocks" gives each block
    one of its own in place of the shared one; `hidden`: of their networks. `offsets` Gaussians belong to an anchor of
    `features` numbers. Anchors are put anywhere at first, see `place`. ValueError for a renderer that cannot work here.
    """

    built_for = ("shape", "box", "cells")
    judged_as = "scene"
    reads = ("pose", "intrinsics")
    golden_signal = "image"

    def __init__(
        self,
        shape: Sequence[int],
        box: Sequence[Sequence[float]],
        cells: Sequence[int],
        *,
        anchors: Count = 96,
        margin: Whole = 48,
        reach: Positive = 1.5,
        offsets: Width = 10,
        features: Width = 32,
        hidden: Width = 32,
        blocks: Literal["cells", "one"] = "cells",
        decoders: Literal["shared", "blocks"] = "shared",
        renderer: Renderer = "torch",
    ) -> None:
        super().__init__()
        if renderer == "gsplat":
            kernels()  # what is missing is said before anything is trained
        self.shape, self.box, self.cells = tuple(shape), tuple(map(tuple, box)), tuple(cells)
        self.anchors, self.margin, self.reach, self.renderer = anchors, margin, reach, renderer
        low_3, high_3 = torch.tensor(self.box)
        self.count = prod(cells) if blocks == "cells" else 1
        own = anchors + (margin if self.count > 1 else 0)
        places = [low_3 + torch.rand(own, 3) * (high_3 - low_3) for _ in range(self.count)]
        self.blocks = nn.ModuleList(Anchors(place, features, offsets) for place in places)
        several = self.count if decoders == "blocks" else 1
        self.decoders = nn.ModuleList(Decoder(features, offsets, hidden) for _ in range(several))

    def golden_input(self, rows: int) -> Any:
        """Cameras in the middle of the scene that look along x, each from a little elsewhere."""
        low_3, high_3 = torch.tensor(self.box)
        pose_N44 = torch.zeros(rows, 4, 4)
        pose_N44[:, [1, 2, 0, 3], [0, 1, 2, 3]] = torch.tensor([-1.0, -1.0, 1.0, 1.0])
        pose_N44[:, :3, 3] = low_3 + (high_3 - low_3) * (0.25 + 0.5 * torch.from_numpy(golden_unit((rows, 3))).float())
        width = self.shape[-1]
        inner_4 = torch.tensor([width / 2, width / 2, width / 2, self.shape[-2] / 2])
        like = self.of(0).position
        return {"pose": pose_N44.to(like), "intrinsics": inner_4.expand(rows, -1).to(like)}

    def golden_answer(self, answer: Tensor) -> Tensor:
        """Every 64th number of the pictures."""
        return answer.flatten(1)[:, ::64]

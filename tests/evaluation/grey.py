"""Views of an even grey, and a model that is off by known amounts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embodkd.core import TensorData, Views


class Off(nn.Module):
    """Shows half grey, brighter by what the first number of the pose says, and at seams by `seam` more."""

    judged_as = "scene"
    reads = ("pose", "seam")

    def __init__(self, seam: float = 0.0) -> None:
        super().__init__()
        self.seam = seam

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        level = 0.5 + x["pose"][:, 0, 0, None, None, None] + self.seam * x["seam"][:, None]
        return {"image": level.expand(-1, 3, -1, -1)}


def views(errors: list[float]) -> Views:
    count = len(errors)
    pose = torch.zeros(count, 4, 4)
    pose[:, 0, 0] = torch.tensor(errors)
    seam = torch.zeros(count, 16, 16, dtype=torch.bool)
    seam[:, :, :4] = True
    fields = {
        "image": torch.full((count, 3, 16, 16), 0.5),
        "pose": pose,
        "intrinsics": torch.ones(count, 4),
        "share": torch.eye(2)[torch.arange(count) % 2],
        "seam": seam,
    }
    parts = [TensorData({**fields, "sample_id": torch.arange(count) + count * k}) for k in range(3)]
    return Views(*parts, shape=(3, 16, 16), box=((0, 0, 0), (2, 1, 1)), cells=(2, 1, 1), points=torch.zeros(1, 3))

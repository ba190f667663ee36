"""The judge of scenes: its measures of pictures that are off by known amounts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embodkd.core import TensorData, Views
from embodkd.evaluation.judges import better, judge_of
from embodkd.evaluation.judges.scene import looks


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


def test_measures_are_those_of_known_errors():
    # 20, 40, 20 and 60 dB; the first cell's views are the first and the third
    data = views([0.1, 0.01, 0.1, 0.001])
    found = judge_of(Off(), data).measured(Off(), data)
    assert found["psnr"] == pytest.approx(35.0, abs=1e-4) and found["worst_block"] == pytest.approx(20.0, abs=1e-4)
    squares = [0.1**2, 0.01**2, 0.1**2, 0.001**2]
    assert found["seam_error"] == pytest.approx(100 * (sum(squares) / 4) ** 0.5, rel=1e-5)
    assert found.keys() == {f"{n}{s}" for n in ("psnr", "ssim", "seam_error", "worst_block") for s in ("", "@train", "@validation")}
    assert better("seam_error") == "lower" and better("worst_block@train") == "higher"


def test_seams_are_judged_at_their_pixels_alone():
    data = views([0.0, 0.0])
    found = judge_of(Off(0.2), data).measured(Off(0.2), data)
    assert found["seam_error"] == pytest.approx(20.0, rel=1e-5)
    assert found["psnr"] == pytest.approx(20.0, abs=2.0) and looks(Off(0.2), data).seam_S.shape == (2 * 64,)


def test_views_are_judged_one_by_one():
    data: Any = views([0.2, 0.05])
    result = judge_of(Off(), data).evaluated(Off(), data, {"name": "rooms", "seed": 0})
    assert [(one.seed, one.success, one.failure) for one in result.outcomes] == [
        (4, False, "below 20 dB"),
        (5, True, None),
    ]
    assert result.manifest["measures"]["psnr"] == pytest.approx(20.0, abs=0.01)

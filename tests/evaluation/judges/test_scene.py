"""The judge of scenes: its measures of pictures that are off by known amounts."""

from __future__ import annotations

from typing import Any

import pytest
from grey import Off, views

from embodkd.evaluation.judges import better, judge_of
from embodkd.evaluation.judges.scene import looks


def test_measures_are_those_of_known_errors():
    # 20, 40, 20 and 60 dB; the first cell's views are the first and the third
    data = views([0.1, 0.01, 0.1, 0.001])
    found = judge_of(Off(), data).measured(Off(), data)
    assert found["psnr"] == pytest.approx(35.0, abs=1e-4) and found["worst_block"] == pytest.approx(20.0, abs=1e-4)
    squares = [0.1**2, 0.01**2, 0.1**2, 0.001**2]
    assert found["seam_error"] == pytest.approx(100 * (sum(squares) / 4) ** 0.5, rel=1e-5)
    assert found.keys() == {
        f"{n}{s}" for n in ("psnr", "ssim", "seam_error", "worst_block") for s in ("", "@train", "@validation")
    }
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

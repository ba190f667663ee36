"""Views of models beside the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from grey import Off, views
from PIL import Image

from embodkd.evaluation.side_by_side import side_by_side


def test_each_model_has_a_column_and_each_view_a_row(tmp_path: Path):
    data = views([0.25, -0.25, 0.0])
    file = side_by_side({"off": Off(), "seams": Off(0.5)}, data, tmp_path / "views.png", views=(0, 2))
    sheet = np.asarray(Image.open(file))
    assert sheet.shape == (26 + 2 * 198, 3 * 198, 3)
    middle = [[sheet[26 + 198 * row + 96, 198 * column + 96, 0] for column in range(3)] for row in range(2)]
    assert middle == [[128, 191, 191], [128, 128, 128]]
    # the first columns of pixels are the seam
    assert sheet[26 + 198 + 96, 2 * 198, 0] == 255


def test_views_that_are_not_there_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"test has views 0 to 1, got \[2\]"):
        side_by_side({}, views([0.0, 0.0]), tmp_path / "views.png", views=(2,))

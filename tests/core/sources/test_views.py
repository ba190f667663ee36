"""Data sets of views: cells of a scene, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import TensorData, Views
from embodkd.core.sources.views import beyond, cell_of

BOX, CELLS = ((-1.0, 0.0, 2.0), (2.0, 4.0, 3.0)), (3, 2, 2)
POINTS = st.lists(st.tuples(*(st.floats(-6, 6) for _ in range(3))), min_size=1, max_size=20)


@given(POINTS)
def test_every_point_has_the_cell_whose_walls_it_lies_between(rows: list[tuple[float, float, float]]):
    points = torch.tensor(rows, dtype=torch.float64)
    found = cell_of(points, BOX, CELLS)
    for point, number in zip(rows, found.tolist(), strict=True):
        at = [
            min(max(int((x - low) // ((high - low) / n)), 0), n - 1)
            for x, low, high, n in zip(point, *BOX, CELLS, strict=True)
        ]
        assert number == (at[0] * 2 + at[1]) * 2 + at[2]


@given(POINTS)
def test_a_point_is_beyond_all_cells_but_its_own_and_not_nearer_than_the_box_lets_it(rows: list[Any]):
    points = torch.tensor(rows, dtype=torch.float64)
    away = torch.stack([beyond(points, cell, BOX, CELLS) for cell in range(12)])
    own = cell_of(points, BOX, CELLS)
    low, high = torch.tensor(BOX, dtype=torch.float64)
    outside = torch.maximum(low - points, points - high).amax(1).clamp(min=0)
    torch.testing.assert_close(away.min(0)[0], outside, rtol=0, atol=1e-9)
    torch.testing.assert_close(away.gather(0, own[None])[0], outside, rtol=0, atol=1e-9)


def part(count: int, first: int, **changed: torch.Tensor) -> TensorData:
    fields = {
        "image": torch.zeros(count, 3, 4, 5),
        "pose": torch.eye(4).expand(count, 4, 4),
        "intrinsics": torch.ones(count, 4),
        "share": torch.ones(count, 12) / 12,
        "seam": torch.zeros(count, 4, 5, dtype=torch.bool),
        "sample_id": torch.arange(first, first + count),
    }
    return TensorData({**fields, **changed})


def views(**changed: Any) -> Views:
    parts = {"train": part(3, 0), "validation": part(2, 3), "test": part(2, 5)}
    return Views(**{**parts, "shape": (3, 4, 5), "box": BOX, "cells": CELLS, "points": torch.zeros(9, 3), **changed})


def test_facts_are_what_a_scene_is_built_for():
    assert views().facts() == {"shape": (3, 4, 5), "box": BOX, "cells": CELLS}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"test": part(2, 4)}, "occur more than once"),
        ({"test": part(2, 5, share=torch.ones(2, 11))}, r"test: expected .*'share': \(2, 12\)"),
        ({"validation": TensorData({"image": torch.zeros(2, 3, 4, 5)})}, "validation: lacks the field pose and"),
        ({"points": torch.zeros(9, 2)}, r"points: expected \(P, 3\)"),
        ({"shape": (3, 5, 4)}, "train: expected"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        views(**changed)

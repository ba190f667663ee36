"""A data set of posed pictures: views of one scene, their cameras, and which part of the scene they see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from embodkd.core.sources.dataset import DataSet, Items, Spelling
from embodkd.core.sources.source import TensorData

Box = tuple[tuple[float, float, float], tuple[float, float, float]]
"""The lowest and the highest corner, metres."""

_FIELDS = ("image", "pose", "intrinsics", "share", "seam", "sample_id")


@dataclass(frozen=True)
class Views(DataSet):
    """Three parts of views and any number of extra ones.

    Every part has the fields `image` (N, 3, H, W) float in [0, 1]; `pose` (N, 4, 4), camera to world in metres, the
    camera looking along its z, its x to the right and its y down; `intrinsics` (N, 4): fx, fy, cx, cy in pixels, the
    first pixel's centre at 0.5; `share` (N, C), how much of the picture shows each cell of the scene; `seam` (N, H, W)
    bool, the pixels that show a border between two cells; and `sample_id` (N,) int64. ValueError if any of this fails.

    shape: (3, H, W). box: the scene's. cells: into how many equal parts it is cut along x, y and z; C is their product.
    points: (P, 3) on the surfaces that the training views see, as structure from motion finds them.
    """

    train: TensorData
    validation: TensorData
    test: TensorData
    shape: tuple[int, ...]
    box: Box
    cells: tuple[int, int, int]
    points: Tensor
    extra: Mapping[str, TensorData] = field(default_factory=dict)
    names: tuple[str, ...] | None = None
    items: Items | None = None
    spelling: Spelling | None = None

    kind: ClassVar[str] = "views"
    counted: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        for name, data in self.parts().items():
            self._check(name, data)
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(f"points: expected (P, 3), got {tuple(self.points.shape)}")
        self.check_parts()

    def facts(self) -> dict[str, Any]:
        """shape, box and cells."""
        return {"shape": tuple(self.shape), "box": self.box, "cells": tuple(self.cells)}

    def _check(self, name: str, data: TensorData) -> None:
        if missing := [n for n in _FIELDS if n not in data.fields]:
            raise ValueError(f"{name}: lacks the field {' and '.join(missing)}; views have {', '.join(_FIELDS)}")
        count, (_, height, width) = data.size(), self.shape
        wanted = {
            "image": (count, *self.shape),
            "pose": (count, 4, 4),
            "intrinsics": (count, 4),
            "share": (count, prod(self.cells)),
            "seam": (count, height, width),
        }
        found = {field_: tuple(data.fields[field_].shape) for field_ in wanted}
        if found != wanted:
            raise ValueError(f"{name}: expected {wanted}, got {found}")


def cell_of(points_P3: Tensor, box: Sequence[Sequence[float]], cells: Sequence[int]) -> Tensor:
    """The number of the cell in which each point lies, int64 (P,); outside the box the nearest one's.

    Numbers count z first, then y, then x: cell (i, j, k) is (i * cells[1] + j) * cells[2] + k.
    """
    low_3, high_3, count_3 = (points_P3.new_tensor(list(map(float, row))) for row in (*box, cells))
    place_P3 = ((points_P3 - low_3) / (high_3 - low_3) * count_3).floor().clamp(min=0).minimum(count_3 - 1).long()
    return (place_P3[:, 0] * cells[1] + place_P3[:, 1]) * cells[2] + place_P3[:, 2]


def beyond(points_P3: Tensor, cell: int, box: Sequence[Sequence[float]], cells: Sequence[int]) -> Tensor:
    """How far outside the cell of this number each point lies, (P,) metres: the largest over the axes, 0 inside."""
    low_3, high_3, count_3 = (points_P3.new_tensor(list(map(float, row))) for row in (*box, cells))
    at = (cell // (cells[1] * cells[2]), cell // cells[2] % cells[1], cell % cells[2])
    size_3 = (high_3 - low_3) / count_3
    first_3 = low_3 + size_3 * points_P3.new_tensor(list(map(float, at)))
    outside_P3 = torch.maximum(first_3 - points_P3, points_P3 - (first_3 + size_3))
    return outside_P3.amax(1).clamp(min=0.0)

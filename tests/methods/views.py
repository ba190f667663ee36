"""Small rooms and small scenes for tests."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from embodkd.core import Budget, Optimiser, Recipe, Views
from embodkd.data import make_data
from embodkd.methods import get_method
from embodkd.models import make_model
from embodkd.models.scenes.scaffold_gs import ScaffoldGS


@cache
def rooms(along: int = 2) -> Views:
    """Two rooms, or as many as asked for, in pictures of 16 x 16."""
    made: Views = make_data("rooms", along=along, across=1, size=16, train=12, validation=4, test=4, points=600)
    return made


def scene(data: Views | None = None, **options: Any) -> ScaffoldGS:
    """A few anchors for each room."""
    small = {"anchors": 12, "margin": 5, "offsets": 3, "features": 6, "hidden": 8}
    torch.manual_seed(5)
    made: ScaffoldGS = make_model("scaffold_gs", **(data or rooms()).facts(), **{**small, **options})
    return made


def recipe(
    student: ScaffoldGS | None = None, data: Views | None = None, *, updates: int = 12, batch: int = 4, **method: Any
) -> Recipe:
    """What momentum_gs does; turns of two updates, views of all rooms for each block."""
    data = data or rooms()
    options = {"interval": 2, "measure": 1, "contribution": 0.0, "smoothing": 0.5, "sigma": 1.0}
    made: Recipe = get_method("momentum_gs")(**{**options, **method}).recipe(
        student or scene(data),
        None,
        data,
        seed=3,
        budget=Budget(updates=updates, batch_size=batch, optimiser=Optimiser("adam", 0.0075, eps=1e-15)),
    )
    return made


GROWING = {"grow_every": 1, "grow_pull": 1e-6, "grow_voxel": 0.3, "most_anchors": 24, "prune_opacity": 0.5}

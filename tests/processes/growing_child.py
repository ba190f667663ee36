"""A model that grows, one with a part fixed in the middle, and a second stage that keeps the moments: as each of
several processes trains it. What it becomes goes to grown_RANK.json."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from growth import Bumps, curve, densify, train

from embodkd.core import Recipe, RunFolder
from embodkd.core.ranks import ranks


def grown(folder: Path) -> dict[str, list]:
    """Two stages with steps within and between them."""
    torch.set_num_threads(1)
    model = Bumps()
    first, second = curve(model, keep_moments=True), curve(model)
    inner = densify(model)

    def step(context):
        if int(model.age.max()) >= 1:
            model.level.requires_grad_(False)
        return inner(context)

    recipe = Recipe((*first.stages, densify(model), *second.stages), model)
    run = RunFolder.open(folder, {}, resume=True) if ranks().is_first else None
    train(recipe, step, run)
    if run is not None:
        run.close()
    return {name: value.tolist() for name, value in model.state_dict().items()}


def answer() -> None:
    """What the model becomes in the folder `run`, to grown_RANK.json."""
    Path(f"grown_{ranks().rank}.json").write_text(json.dumps(grown(Path("run"))))

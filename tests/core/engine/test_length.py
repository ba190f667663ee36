"""A warm-up that outlasts its stage is said: of rates, weights and other numbers that change."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from embodkd.core import Budget, Optimiser, Player, Recipe, Role, Schedule, TensorData, cosine
from embodkd.core.engine.length import endless_warmups


def recipe(warmup: int, where: str) -> Recipe:
    """Four updates in which one curve climbs."""
    curve = cosine(1.0, 0.0, warmup=warmup)
    rate, climbs = Optimiser(learning_rate=curve if where == "rate" else 1e-3), Schedule(warmup=warmup)
    player = Player(
        Role(nn.Linear(2, 2)),
        lambda batch, s: {"loss": torch.zeros(len(batch.sample_id))},
        weights={"loss": climbs} if where == "weight" else {},
        scheduled={"heat": climbs} if where == "number" else {},
        optimiser=rate,
    )
    data = TensorData({"input": torch.zeros(8, 2), "sample_id": torch.arange(8)})
    return Budget(epochs=2, batch_size=4).fit(player, data).then(lambda context: None)


@pytest.mark.parametrize("where", ["rate", "weight", "number"])
def test_a_warm_up_that_does_not_end_is_said(where: str) -> None:
    assert not list(endless_warmups(recipe(4, where)))
    (line,) = endless_warmups(recipe(5, where))
    assert "5 updates" in line and "has 4" in line and "80.0%" in line

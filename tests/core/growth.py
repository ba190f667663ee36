"""A model whose parts come and go: bumps that are split and pruned while they learn a curve."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from embodkd.core import Context, Growing, Optimiser, Player, Recipe, Role, TensorData, Trainer, fit, squared_error
from embodkd.core.engine.members import learning_modules


class Bumps(Growing):
    """The sum of bumps at `centres` (N, 2) of `heights` (N,), plus a level; `age` (N,) counts the steps of each."""

    per_row = ("centres", "heights", "age")

    def __init__(self, count: int = 4, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.centres = nn.Parameter(torch.randn(count, 2, generator=generator, dtype=torch.float64))
        self.heights = nn.Parameter(torch.randn(count, generator=generator, dtype=torch.float64))
        self.level = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.register_buffer("age", torch.zeros(count, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        distances = (x[:, None] - self.centres).square().sum(2)
        return ((-distances).exp() * self.heights).sum(1, keepdim=True) + self.level


def densify(model: Bumps) -> Callable[[Context], dict[str, float]]:
    """A step: the lowest bump goes, the highest is split in two, and one more comes at its side."""

    def step(context: Context) -> dict[str, float]:
        order = model.heights.detach().abs().argsort().tolist()
        rows = torch.tensor([*sorted(order[1:]), -1, -1])
        parent = order[-1]
        side = torch.tensor([[0.3, 0.0], [0.0, 0.3]], dtype=torch.float64)
        fresh = {"centres": model.centres[parent] + side, "heights": model.heights[parent].expand(2) / 2}
        model.age += 1
        model.regrow(rows, fresh)
        return {"bumps": float(len(model.heights))}

    return step


class Stepping(Trainer):
    """Takes a step after every third update of a stage."""

    step: Callable[[Context], dict[str, float]]
    modules: list[nn.Module]

    def _update(self, stage, learners, index, at, *rest):
        super()._update(stage, learners, index, at, *rest)
        if at.update % 3 == 0:
            self._step(self.step, self.modules, learners)


def curve(model: nn.Module, epochs: int = 4, optimiser: Optimiser | None = None, **player) -> Recipe:
    """Learn a curve from 20 points in batches of 10."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    data = TensorData({"input": x, "height": x.prod(1, keepdim=True).sin()})

    def terms(batch, s):
        return {"error": squared_error(s.logits_NC, batch["height"])}

    learner = Player(Role(model), terms, optimiser=optimiser or Optimiser("adam", 0.05), **player)
    return fit(learner, data, epochs=epochs, batch_size=10)


def train(recipe: Recipe, step: Callable[[Context], dict[str, float]] | None = None, run=None) -> None:
    """Through the recipe, with a step after every third update."""
    trainer = (Trainer if step is None else Stepping)(run, quiet=True, checkpoint_s=0.0)
    if step is not None:
        trainer.step, trainer.modules = step, learning_modules(recipe)
    trainer.fit(recipe)

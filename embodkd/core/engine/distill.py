"""A method, a student and its teachers in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from embodkd.core.config.ranges import Seed
from embodkd.core.engine.summary import Summary
from embodkd.core.engine.trainer import Trainer
from embodkd.core.method import Method, Teachers
from embodkd.core.recipe import Budget, Step
from embodkd.core.runs.folder import RunFolder


def distill(
    method: Method,
    student: nn.Module,
    teachers: Teachers,
    data: Any,
    *,
    run: RunFolder | None,
    seed: Seed = 0,
    budget: Budget | None = None,
    trainer: Mapping[str, Any] | None = None,
    then: Sequence[Step] = (),
) -> Summary:
    """Train `student` in place by `method` from `teachers` on the kind of `data` that it needs.

    `trainer`: further arguments of Trainer; `then`: steps that follow the recipe's own (a fine-tuning elsewhere).
    """
    recipe = method.recipe(student, teachers, data, seed=seed, budget=budget)
    for step in then:
        recipe = recipe.then(step)
    return Trainer(run, seed=seed, **(trainer or {})).fit(recipe)

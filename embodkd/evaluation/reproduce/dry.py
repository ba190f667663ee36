"""Try a table without its data and its hours: every model, method, term and measure, for a few updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core import DataSet, Teachers, Trainer
from embodkd.core.config.schema import parameters
from embodkd.data import DATA
from embodkd.evaluation.judges import judge_of
from embodkd.evaluation.reproduce.cells import judges
from embodkd.evaluation.reproduce.file import arms_of, read
from embodkd.evaluation.reproduce.spec import Config, Reproduction, Training
from embodkd.evaluation.reproduce.training import teachers_of, untrained
from embodkd.evaluation.reproduce.workers import one_thread

# A budget that may be split between stages needs two updates; a few items are enough to try what measures them.
_UPDATES, _BATCH, _MEASURED = 2, 8, 32
_ITEMS, _PARTS = 64, ("train", "validation", "test", "pool")

Judge = tuple[Any, Teachers, DataSet]
"""A method that measures, whom its arm learns from, and what it measures on."""


def dry_run(
    file: str | Path,
    *,
    arms: Sequence[str] | None = None,
    trainer: Config | None = None,
    said: Callable[[str], Any] = print,
) -> list[dict[str, Any]]:
    """Build every teacher and arm of the table in `file` at its full size and train each for two updates of 8 items.

    arms: only these, with all teachers. Teachers are untrained; a data set that would be downloaded is replaced by
    blank images of its shape, of another one a few items are drawn. Nothing is stored. One row per training, also given
    to `said` in words: name, model, its parameters, updates, measures. Whatever a real run would fail at before its
    data matter fails here, as it would there.
    """
    one_thread()
    table = read(file, trainer)
    judged_by = [_judge(small(judge)) for judge in judges(table)]
    rows = []
    for training in _trainings(table, arms_of(table, arms)):
        rows.append(_tried(training, [] if training.teaches else judged_by))
        row = rows[-1]
        said(f"{row['name']}: {row['model']}, {row['parameters']:,} parameters, {row['updates']} updates")
    return rows


def small(training: Training) -> Training:
    """The same training with two updates of 8 items, on few items, blank ones where real ones would be downloaded.

    A model that would be downloaded is a new one of the size that is said beside `pretrained`.
    """
    model = {key: value for key, value in training.model.items() if key != "pretrained" or isinstance(value, bool)}
    blank = {"blank": True} if "blank" in parameters(DATA.get(training.data["name"])) else {}
    few = {} if blank else {part: min(training.data[part], _ITEMS) for part in _PARTS if part in training.data}
    return replace(
        training,
        model=model,
        data={**training.data, **blank, **few},
        budget={**training.budget, "epochs": _UPDATES, "updates": _UPDATES, "batch_size": _BATCH},
        teachers={name: small(teacher) for name, teacher in training.teachers.items()},
    )


def _few(data: DataSet) -> DataSet:
    """The first items of each part."""
    return data.with_parts(
        {name: part.rows(np.arange(min(_MEASURED, part.size()))) for name, part in data.parts().items()}
    )


def _judge(training: Training) -> Judge:
    teachers = teachers_of(training, lambda teacher: untrained(teacher, 0).recipe.product)
    return training.build_method(), teachers, untrained(training, 0).data


def _tried(training: Training, judged_by: Sequence[Judge]) -> dict[str, Any]:
    tried = untrained(small(training), 0)
    updates = 0
    if training.method is not None:
        updates = Trainer(None, quiet=True, **training.trainer).fit(tried.recipe).updates
    product = tried.recipe.product.cpu()
    judge_it = judge_of(product, tried.data).measured
    found = judge_it(product, _few(tried.data), getattr(tried.method, "classify", None))
    for method, teachers, data in judged_by:
        found |= method.measures(product, teachers, data)
    count = sum(parameter.numel() for parameter in product.parameters())
    model = " ".join(str(value) for value in training.model.values() if isinstance(value, str))
    return {"name": training.name, "model": model, "parameters": count, "updates": updates, "measures": found}


def _trainings(table: Reproduction, arms: Sequence[str]) -> Iterator[Training]:
    yield from table.teachers.values()
    for training in (table.arms[name].training for name in arms):
        # Teachers that an arm has for itself.
        yield from (teacher for name, teacher in training.teachers.items() if teacher.name != name)
        yield training

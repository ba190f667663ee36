"""From a Training to a trained model: data, models and recipe built from one seed, and what identifies the result."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import nn

from embodkd.core import DataSet, Recipe, Teachers, seed_everything
from embodkd.core.method import by_name
from embodkd.core.sources.provenance import Provenance
from embodkd.data import make_data
from embodkd.evaluation.reproduce.spec import Config, Training
from embodkd.evaluation.reproduce.stale import RUNS_A_CELL
from embodkd.evaluation.tables.mark import mark
from embodkd.evaluation.tables.sources import sources
from embodkd.models import make_model


@dataclass
class Assembled:
    """A training ready to go: its data, its method, whom it learns from, what is to be done, what makes its product."""

    data: DataSet
    method: Any
    teachers: Teachers
    recipe: Recipe
    provenance: Provenance


def assemble(training: Training, seed: int, teacher: Callable[[Training], nn.Module]) -> Assembled:
    """Build data, model and recipe of `training`; `teacher(t)` gives each model that it learns from.

    The initial weights depend on the seed alone: arms with the same student start alike.
    """
    data, given = data_of(training.data, seed), teachers_of(training, teacher)
    own = own_seed(training, seed)
    seed_everything(own)
    model = make_model(_name(training.model, training.name), **data.facts(), **_options(training.model))
    method = training.build_method()
    recipe = (
        Recipe((), model)
        if method is None
        else method.recipe(model, given, data, seed=own, budget=training.build_budget())
    )
    provenance = Provenance.of(data, by_name(given).values())
    recipe.product.provenance = provenance
    return Assembled(data, method, given, recipe, provenance)


def teachers_of(training: Training, teacher: Callable[[Training], nn.Module]) -> Teachers:
    """Whom `training` learns from, as its method wants it: one model, several by name, or None."""
    found = {name: teacher(other) for name, other in training.teachers.items()}
    return next(iter(found.values())) if len(found) == 1 else (found or None)


def untrained(training: Training, seed: int) -> Assembled:
    """`training` with untrained teachers: all that can go wrong before a first update goes wrong here."""
    return assemble(training, seed, lambda teacher: untrained(teacher, seed).recipe.product)


def data_of(config: Config, seed: int) -> DataSet:
    """The data set of `config`, drawn with `seed` unless the config fixes one."""
    return _data(json.dumps({"seed": seed, **config}, sort_keys=True))


# One table reads few data sets, and each is asked for by many trainings.
@lru_cache(maxsize=2)
def _data(config: str) -> DataSet:
    options = json.loads(config)
    made: DataSet = make_data(_name(options, "data"), **_options(options))
    return made


def own_seed(training: Training, seed: int) -> int:
    """The seed of a training: that of the run for an arm; for a teacher another one, told apart by its name.

    A teacher of the student's own architecture must not start from the student's weights.
    """
    return zlib.crc32(f"{training.name.rpartition('.')[2]}/{seed}".encode()) if training.teaches else seed


def fingerprint(training: Training, seed: int, judges: tuple[Training, ...] = ()) -> str:
    """A digest of all that the outcome depends on: config, seed, sources, versions, and who measures it."""
    config = {"training": training.config(), "seed": seed, "judges": [judge.config() for judge in judges]}
    return str(mark(config, sources().digest([RUNS_A_CELL], config))["digest"])


def _name(config: Mapping[str, Any], where: str) -> str:
    if "name" not in config:
        raise ValueError(f"{where}: {dict(config)} lacks its name")
    return str(config["name"])


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "name"}

"""The same distillation in TRL: same pair of language models, texts, batches and optimiser, turn by turn.

Ours are the second stages of `teacher_hacking` and of `redi` with `pairs=dpo`, theirs GKDTrainer and DPOTrainer. In GKD
texts are given (off-policy), or the student writes them as it is then (on-policy). Only updates are timed: models,
texts and trainers are made beforehand, and TRL neither logs, clips nor saves.

It needs TRL, which brings `datasets` and leaves the versions of all else as they are; an environment of its own:

    python -m venv .trl && .trl/bin/pip install trl==1.16.0 ".[language]" --constraint constraints.txt
    .trl/bin/python -m benchmarks trl
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from benchmarks import trl_theirs as theirs
from benchmarks.loop import ratio
from benchmarks.measure import Contender, Line, take_turns
from benchmarks.trl_work import Work, student, teacher, texts
from embodkd.core import Budget, Recipe, TensorData, Trainer
from embodkd.methods import get_method

COMMAND = "python -m benchmarks trl"
SHARE = 0.5
"""Of a method's updates that its second stage has."""


def lines(work: Work | None = None) -> list[Line]:
    """Three lines: TRL's CPU time over ours."""
    if not theirs.installed():  # said before anything is measured
        raise ValueError(f"TRL is not installed here; its environment: {__doc__}")
    work = work or Work()
    return [
        compared(work, "GKD on-policy vs TRL", partial(gkd, work, "online_student"), partial(theirs.gkd, work, True)),
        compared(work, "GKD off-policy vs TRL", partial(gkd, work, "offline"), partial(theirs.gkd, work, False)),
        compared(work, "DPO vs TRL", partial(dpo, work), partial(theirs.dpo, work)),
    ]


def compared(work: Work, name: str, ours: Callable[[], Recipe], trainer: Callable[[], Any]) -> Line:
    """A line of turn-by-turn ratios."""
    contenders = {
        "embodkd": prepared(work, lambda: partial(trained, work, ours())),
        "trl": prepared(work, lambda: trainer().train),
    }
    line = ratio(work, name, take_turns(contenders, work.repeats), ("trl", "embodkd"), ">=", 1.0)
    return replace(line, command=COMMAND, details={**line.details, "trl": version("trl")})


def prepared(work: Work, make: Callable[[], Callable[[], object]]) -> Contender:
    """Trainings that are made beforehand, one for each turn and one for the unrecorded call."""
    made = [make() for _ in range(work.repeats + 1)]
    return Contender(lambda: made.pop()())


def trained(work: Work, recipe: Recipe) -> None:
    """All updates by the Trainer."""
    assert Trainer(quiet=True).fit(recipe).updates == work.updates


def gkd(work: Work, source: Literal["offline", "online_student"]) -> Recipe:
    """The second stage of teacher_hacking, not watched: on given texts or on those that the student writes."""
    options = {"source": source, "divergence": work.divergence, "beta": work.beta, "share": SHARE}
    learner, data, models = student(work), texts(work), dict.fromkeys(("teacher", "oracle"), teacher(work))
    *_, stage, _ = get_method("teacher_hacking")(**options).recipe(learner, models, data, budget=budget(work)).stages
    given = {"source": InOrder(data.extra["pool"].fields)} if source == "offline" else {}
    return Recipe((replace(stage, every=(), **given),), learner)


def dpo(work: Work) -> Recipe:
    """The second stage of redi with DPO, on given pairs; the reference is the student as it begins."""
    learner, data = student(work), texts(work)
    method = get_method("redi")(pairs="dpo", share=SHARE)
    *_, reference, stage = method.recipe(learner, teacher(work), data, budget=budget(work)).stages
    return Recipe((reference, replace(stage, source=InOrder(data.extra["pairs"].fields))), learner)


def budget(work: Work) -> Budget:
    """Of both stages."""
    return Budget(updates=round(work.updates / SHARE), batch_size=work.batch)


class InOrder(TensorData):
    """Tensors in the order of their rows, as TRL is told to read them."""

    def order(self, batch_size: int, *key: int, least: int = 1) -> Iterator[np.ndarray]:
        """One pass, all batches full."""
        return iter(np.arange(self.size()).reshape(-1, batch_size))

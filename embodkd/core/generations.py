"""Generations: a student becomes the teacher of its successor, which starts anew (born-again training)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from embodkd.core.fresh import fresh_copy
from embodkd.core.recipe import Context

Start = Literal["fresh", "first"]


class Succession:
    """A step: `teacher` takes over the student's weights, if there is one, and the student starts again.

    teacher: a copy of the student in the role "snapshot", so that a resumed run finds it in the checkpoint; None only
    starts the student again. start: "fresh" draws new weights (a function of `key`, see `fresh_copy`), "first" goes
    back to those that the student has now, when the recipe is written.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module | None, *key: int, start: Start = "fresh") -> None:
        self.student, self.teacher = student, teacher
        source = fresh_copy(student, *key) if start == "fresh" else student
        self._start = {name: value.detach().clone() for name, value in source.state_dict().items()}

    def __call__(self, context: Context) -> None:
        """Hand over."""
        if self.teacher is not None:
            self.teacher.load_state_dict(self.student.state_dict())
        self.student.load_state_dict(self._start)

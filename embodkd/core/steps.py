"""Steps without gradients between stages: start a model anew, hand it over to a successor, fix it."""

from __future__ import annotations

import copy
from typing import Literal

from torch import nn

from embodkd.core.recipe import Context
from embodkd.core.rng import seeded


class Restart:
    """Puts `model` back to the weights and buffers that it has now, when the recipe is written.

    A model whose first weights are pretrained goes back to those. A resumed run that is already past the step has
    nothing to do: its weights are in the checkpoint.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._first = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def __call__(self, context: Context) -> None:
        """Put the weights back."""
        self.model.load_state_dict(self._first)


def fresh_copy(model: nn.Module, *key: int) -> nn.Module:
    """A copy of `model` whose parameters all learn and start from new random weights that depend on `key` alone.

    Every layer is reset as torch resets it (`reset_parameters`), batch statistics included. ValueError if a layer with
    parameters of its own cannot do that.
    """
    made = copy.deepcopy(model).requires_grad_(True)
    with seeded(*key):
        for name, module in made.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            elif any(True for _ in module.parameters(recurse=False)):
                raise ValueError(
                    f"{type(model).__name__}: {name or 'it'} ({type(module).__name__}) has weights but no "
                    "reset_parameters(), so it cannot start anew; give an untrained network and let that one learn"
                )
    return made


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


class Fix:
    """A step after which `model` does not learn any more, whoever's part it is."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, context: Context) -> None:
        """Fix it."""
        self.model.requires_grad_(False)

    restore = __call__

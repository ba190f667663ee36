"""A simulation that left the numbers, in any engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


class SimulationDiverged(FloatingPointError):
    """A copy produced a number that is not finite, or a huge one.

    ``copies`` names them, ``cause`` is what most likely began it in the first of them, ``dump`` the file with their
    last good state.  A task adds which step of which episode it was.
    """

    def __init__(self, copies: Sequence[int], cause: str, dump: Path) -> None:
        self.copies, self.cause, self.dump = list(copies), cause, dump
        super().__init__(f"simulation copies {self.copies} diverged; likely cause in copy {self.copies[0]}: {cause}")

    def during(self, when: str) -> SimulationDiverged:
        """The same error, which also says when it happened and where to look."""
        self.args = (f"{self.args[0]}; {when}; the last good state is in {self.dump}",)
        return self


def not_finite(fields: Mapping[str, np.ndarray]) -> str | None:
    """The first of these arrays that holds a number which is not finite."""
    return next((name for name, values in fields.items() if not np.isfinite(values).all()), None)


def cause_of(before: Mapping[str, np.ndarray], parameters: Mapping[str, np.ndarray], fastest: str) -> str:
    """The likeliest of: a state or control that was wrong before the step, a wrong parameter, too violent a motion."""
    if (name := not_finite(before)) is not None:
        return f"its {name} was not finite before the step; look at what wrote it"
    if (name := not_finite(parameters)) is not None:
        return f"its {name} is not finite; look at the randomisation or at what set it"
    for name, values in parameters.items():
        if "mass" in name and (values < 0).any():
            return f"its {name} is negative; look at the randomisation or at what set it"
    return f"{fastest}; lower the action scale, the gains or the time step"

"""What the future depends on, as plain arrays by name: how tasks, worlds, robots and cameras are saved and go on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]


def saved(owner: object, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Copies of the arrays of ``owner``; ``names`` maps what each is called here to the attribute that holds it."""
    return {name: getattr(owner, attribute).copy() for name, attribute in names.items()}


def restore(owner: object, names: Mapping[str, str], arrays: Arrays) -> None:
    """Write what ``saved`` gave back into the arrays of ``owner``."""
    for name, attribute in names.items():
        getattr(owner, attribute)[:] = arrays[name]


def under(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays of a part, as ``prefix/name``."""
    return {f"{prefix}/{name}": values for name, values in arrays.items()}


def below(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays of a part again, out of those of the whole."""
    start = f"{prefix}/"
    return {name.removeprefix(start): values for name, values in arrays.items() if name.startswith(start)}

"""Data sets, one file per source: `make_data("digits", seed=0, train=300)` gives `Splits`.

The keywords of a factory are the schema of its config. All is deterministic in (options, seed); splits are stratified
by class. Sources outside this package's own dependencies are read from installed packages or from the cache that
`embodkd data get` fills; a missing one is an error that says how to get it.
"""

from __future__ import annotations

from typing import Any

from embodkd.core import Splits
from embodkd.core.config.schema import build
from embodkd.data import (  # noqa: F401 (each enters its factory into DATA)
    digits,
    digits_web,
    emoji,
    fashion_mnist,
    hub_images,
    mnist5k,
    photos,
)
from embodkd.data.registry import DATA

__all__ = ["DATA", "Splits", "data_names", "make_data"]


def make_data(name: str, seed: int = 0, **options: Any) -> Splits:
    """The data set called `name`; ValueError for an unknown name or option, naming the nearest that exists."""
    return build(DATA.get(name), options, f"data {name}", seed=seed)


def data_names() -> tuple[str, ...]:
    """The names that `make_data` knows."""
    return DATA.names()

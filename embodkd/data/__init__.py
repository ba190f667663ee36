"""Data sets, one file per source: `make_data("digits", seed=0, train=300)` gives `Splits`, "glosses" `Texts`.

The keywords of a factory are the schema of its config. All is deterministic in (options, seed); splits are stratified
by class. Sources outside this package's own dependencies are read from installed packages or from the cache that
`embodkd data get` fills; a missing one is an error that says how to get it.
"""

from __future__ import annotations

from typing import Any

from embodkd.core import DataSet, Splits
from embodkd.core.config.schema import build
from embodkd.data import (  # noqa: F401 (each enters its factory into DATA)
    digits,
    digits_web,
    emoji,
    emoji_web,
    fashion_mnist,
    hub_images,
    mnist5k,
    photos,
)
from embodkd.data.pairs import emoji_names, hub_pairs, openclipart  # noqa: F401 (the same)
from embodkd.data.registry import DATA, kind_of
from embodkd.data.speech import flite, piper, tones  # noqa: F401 (the same)
from embodkd.data.text import gloss45, glosses, sums  # noqa: F401 (the same)
from embodkd.data.views import rooms  # noqa: F401 (the same)

__all__ = ["DATA", "DataSet", "Splits", "data_names", "kind_of", "make_data"]


def make_data(name: str, seed: int = 0, **options: Any) -> Any:
    """The data set called `name`, of the kind that `kind_of` says.

    ValueError for an unknown name or option, naming the nearest that exists.
    """
    return build(DATA.get(name), options, f"data {name}", seed=seed)


def data_names() -> tuple[str, ...]:
    """The names that `make_data` knows."""
    return DATA.names()

"""The table of data sets; each file of this package enters its factory."""

from __future__ import annotations

from embodkd.core.config.registry import Registry

DATA = Registry("data set")
"""Factories `(*, seed, **options) -> DataSet`, with `title=` and `licence=` beside each.

`kind=` is the data set's, "splits" where nothing is said. `module=` is a package of the extra `extra=` ("vision" where
nothing is said), `asset=` what `embodkd data get` must have fetched unless the folder `installed=` is there. Every one
says which thing of its source each row is (`DataSet.items`), and those with classes name them (`DataSet.names`).
"""


def kind_of(name: str) -> str:
    """The kind of the data set called `name`, without making it; ValueError with the nearest names otherwise."""
    return str(DATA.metadata(name).get("kind", "splits"))

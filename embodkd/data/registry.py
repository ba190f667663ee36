"""The table of data sets; each file of this package enters its factory."""

from __future__ import annotations

from embodkd.core.config.registry import Registry

DATA = Registry("data set")
"""Factories `(*, seed, **options) -> Splits`, with `title=` and `licence=` beside each.

`module=` is a package of the extra `vision`, `asset=` what `embodkd data get` must have fetched. Every one names its
classes and says which thing of its source each row is (`Splits.names`, `Splits.items`).
"""

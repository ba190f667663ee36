"""Methods: one file per paper, each a dataclass of hyper-parameters and a recipe in the core's words.

A file `nkd.py` registers the method "nkd"; it is imported when that method is asked for, so listing them is cheap.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from embodkd.core.config.registry import Registry, near

METHODS = Registry("method")
"""The methods imported so far, with `domain=`, `family=`, `paper=`, `title=` beside each."""


def method_names() -> tuple[str, ...]:
    """The names of all methods, without importing any (torch stays out)."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get_method(name: str) -> Any:
    """The dataclass of the method called `name`, imported now; ValueError with the nearest names otherwise."""
    if name not in method_names():
        raise ValueError(f"unknown method {name!r}: {near(name, method_names())}")
    importlib.import_module(f"{__name__}.{name}")
    return METHODS.get(name)

"""Methods: one file per paper, each a dataclass of hyper-parameters and a recipe in the core's words.

A file `nkd.py` registers the method "nkd"; it is imported when that method is asked for, so listing them is cheap.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.core.config.registrations import registrations
from embodkd.core.config.registry import Registry, near
from embodkd.core.config.schema import build

if TYPE_CHECKING:
    from embodkd.core.method import Method

METHODS = Registry("method")
"""The methods imported so far, with `domain=`, `needs=`, `family=`, `paper=`, `title=` beside each.

needs: what the method's `recipe` takes as `data`, one of `NEEDS` in core/method.py, or several such words.
"""

# needs -> how such a method learns, and the key that gives it what it needs.
_LEARNS = {
    "task": ("in a simulated task", "teacher=... without data or demos"),
    "demonstrations": ("from stored demonstrations", "demos=..."),
    "splits": ("from a data set", "data=..."),
    "texts": ("from texts", "data=glosses"),
    "pairs": ("from pairs", "data=..."),
    "speech": ("from speech", "data=piper"),
    "views": ("from posed views", "data=rooms"),
}


def method_names() -> tuple[str, ...]:
    """The names of all methods, without importing any (torch stays out)."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def method_facts(name: str) -> Mapping[str, Any]:
    """What is said about the method called `name` where it is registered, read off its file without importing it.

    ValueError with the nearest names if there is no such method.
    """
    _known(name)
    spec = importlib.util.find_spec(f"{__name__}.{name}")
    assert spec is not None and spec.origin is not None, f"{name} is one of the names"
    tree = ast.parse(Path(spec.origin).read_bytes())
    (said,) = (one.metadata for one in registrations(tree) if (one.registry, one.name) == ("METHODS", name))
    return said


def get_method(name: str) -> Any:
    """The dataclass of the method called `name`, imported now; ValueError with the nearest names otherwise."""
    _known(name)
    importlib.import_module(f"{__name__}.{name}")
    return METHODS.get(name)


def make_method(config: Mapping[str, Any], needs: str, where: str = "method") -> Method:
    """The method that {name: ..., hyper-parameter: ...} means, ready for a recipe from the kind of data `needs`.

    ValueError with the nearest right name or key, or if it learns from data of another kind.
    """
    if "name" not in config:
        raise ValueError(f"{where}: lacks its name, such as {{name: kd}}")
    name, options = config["name"], {key: value for key, value in config.items() if key != "name"}
    kind, own = get_method(name), needs_of(name)
    if needs not in own:
        others = [n for n in method_names() if needs in needs_of(n)]
        hows = " or ".join(f"{how} ({key})" for how, key in (_LEARNS[word] for word in own))
        raise ValueError(
            f"{where}: {name!r} learns {hows}, not {_LEARNS[needs][0]}; these do: {', '.join(others) or 'none'}"
        )
    method: Method = build(kind, options, where)
    return method


def needs_of(name: str) -> tuple[str, ...]:
    """The kinds of data that the method called `name` can learn from, without importing it."""
    said = method_facts(name)["needs"]
    return (said,) if isinstance(said, str) else tuple(said)


def _known(name: str) -> None:
    if name not in method_names():
        raise ValueError(f"unknown method {name!r}: {near(name, method_names())}")

"""Which code a result came from: a digest of the source files that a training reaches by its imports.

A commit would say too much and too little: it changes when a README does, and does not when an edit is not committed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

_TRAINS_AND_MEASURES = "embodkd.evaluation.reproduce.cells"
_known: dict[str, str] = {}


def code_digest(methods: Iterable[str]) -> str:
    """The digest of all our modules that these methods and the training of a cell import, directly or not.

    It is computed once per process: files that are edited later do not change what is running.
    """
    key = " ".join(sorted(set(methods)))
    if key not in _known:
        digest = hashlib.sha256()
        for name in sorted(reached([_TRAINS_AND_MEASURES, *(f"embodkd.methods.{method}" for method in key.split())])):
            digest.update(name.encode())
            digest.update(_file(name).read_bytes())
        _known[key] = digest.hexdigest()
    return _known[key]


def known_digests() -> dict[str, str]:
    """What this process has computed so far, for `share` in a process that helps it."""
    return dict(_known)


def share(digests: dict[str, str]) -> None:
    """Take over the digests of the process that this one works for."""
    _known.update(digests)


def reached(modules: Iterable[str]) -> set[str]:
    """Names of our modules that `modules` import by name, themselves and those that these import included."""
    found, waiting = set[str](), list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in _imports(name) if other not in found]
    return found


@cache
def _imports(module: str) -> tuple[str, ...]:
    tree = ast.parse(_file(module).read_text(encoding="utf-8"))
    return tuple(name for name in dict.fromkeys(_named(tree)) if name.startswith("embodkd.") and _exists(name))


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            homes = _handed_on(node.module)
            yield node.module
            yield from (homes.get(alias.name, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def _handed_on(package: str) -> dict[str, str]:
    """Name -> module that defines it, of a package that hands names on from a stub; empty for any other module."""
    spec = importlib.util.find_spec(package) if package.startswith("embodkd.") else None
    stub = Path(spec.origin).with_suffix(".pyi") if spec is not None and spec.origin is not None else None
    if stub is None or not stub.exists():
        return {}
    lines = ast.parse(stub.read_text(encoding="utf-8")).body
    return {a.name: f"{package}.{n.module}" for n in lines if isinstance(n, ast.ImportFrom) for a in n.names}


@cache
def _exists(name: str) -> bool:
    parent, _, _ = name.rpartition(".")
    try:
        return importlib.util.find_spec(parent) is not None and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        # `from a.module import a_class` names no module
        return False


def _file(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"{module}: its source file cannot be found, so results cannot be told apart from older ones")
    return Path(spec.origin)

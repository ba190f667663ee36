"""Which of our source files something reaches when it runs, and a digest of what stands in them.

A commit would say too much and too little: it changes when a README does, and does not when an edit is not committed.
All files that could be imported would say too much, too: a verb imports, somewhere, the door to every method and task.
So imports are followed by what they name:

- a name that a package hands on (`from embodkd.policies import load_policy`) leads to the file that defines it, be it
  handed on by an import, by a table of names or by a stub; a package's `__init__` counts only for what it defines;
- an import inside a function is followed where that function is used, by name, from what is reached;
- members of a registry are reached where the registry is and the configuration names them, or where their file is
  imported by name; an import that only enters them into their registry is not followed;
- what stands below `if TYPE_CHECKING:` never runs.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from embodkd.core.config.registrations import registrations

_PACKAGES = ("embodkd", "embodkd.envs", "embodkd.policies")
Place = tuple[str, str | None]
"""(module, name defined in it); None stands for what happens when it is imported."""
WHOLE = "*"
"""In place of a name: everything that the module defines."""


class Sources:
    """Modules, given as name -> file, as they stood when they were first looked at: a later edit is not running."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files
        self._parsed: dict[str, _Module] = {}
        self._reached: dict[tuple[tuple[str, ...], frozenset[str]], set[str]] = {}

    def digest(self, roots: Iterable[str], config: Any = ()) -> str:
        """A digest of all files that `reached` finds, by their names and contents."""
        digest = hashlib.sha256()
        for name in sorted(self.reached(roots, config)):
            digest.update(name.encode() + b"\0" + hashlib.sha256(self.module(name).text).digest())
        return digest.hexdigest()[:32]

    def edited(self, roots: Iterable[str], config: Any = ()) -> list[str]:
        """The modules among those that `reached` finds whose file is no longer what was read."""
        names = sorted(self.reached(roots, config))
        return [n for n in names if not self.files[n].exists() or self.files[n].read_bytes() != self.module(n).text]

    def reached(self, roots: Iterable[str], config: Any = ()) -> set[str]:
        """Names of the modules that `roots` reach ("module" or "module:function") when `config` is what they run with.

        ValueError for a root that is none of ours.
        """
        named = frozenset(set(_words(config)) & self._registered.keys())
        key = tuple(roots), named
        if key not in self._reached:
            self._reached[key] = self._reach(*key)
        return self._reached[key]

    def _reach(self, roots: Iterable[str], named: frozenset[str]) -> set[str]:
        found: set[Place] = set()
        waiting: list[Place] = []
        for root in roots:
            module, _, name = root.partition(":")
            if module not in self.files or (name and name not in self.module(module).defined):
                raise ValueError(f"{root}: its source cannot be found, so results cannot be told from older ones")
            waiting.append((module, name or WHOLE))
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting += self._next(*place)
            if not waiting:
                # a member counts as soon as its registry is reached
                here = {module for module, _ in found}
                members = [m for word in sorted(named) for m, table in self._registered[word] if table in here]
                waiting = [(module, WHOLE) for module in members if (module, WHOLE) not in found]
        return {module for module, _ in found}

    @cached_property
    def _registered(self) -> dict[str, list[tuple[str, str]]]:
        """A member's name -> (its module, that of its registry): entered by a decorator, or in a table of modules."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name in self.files:
            module = self.module(name)
            for member, registry in module.entered:
                table = self._place(*module.bound.get(registry, (name, registry)))
                found.setdefault(member, []).append((name, table[0] if table else name))
            for member, place in module.tables:
                if place in self.files:
                    found.setdefault(member, []).append((place, name))
        return found

    def _next(self, module: str, name: str | None) -> list[Place]:
        """What one place leads to."""
        found = [self._place(*target) for target in self.module(module).leads_to(name)]
        return [place for place in found if place is not None and place[0] != module]

    def _place(self, module: str, name: str | None) -> Place | None:
        """Where `name` of `module` is defined, None if that is not ours."""
        if name is not None and f"{module}.{name}" in self.files:
            module, name = f"{module}.{name}", WHOLE
        if module not in self.files:
            return None
        parsed = self.module(module)
        if not parsed.package or name == WHOLE or name in parsed.defined:
            return module, name
        return self._place(*parsed.handed_on[str(name)]) if name in parsed.handed_on else None

    def module(self, name: str) -> _Module:
        """The module of this name as it was read first."""
        if name not in self._parsed:
            self._parsed[name] = _Module(name, self.files[name])
        return self._parsed[name]


class _Module:
    """What can be read off one file."""

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.text, self.package = name, file.read_bytes(), file.name == "__init__.py"
        self._tree, self._stub = ast.parse(self.text), file.with_suffix(".pyi")
        self._parts = {n.name: n for n in self._tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
        inner = set(self._parts.values())
        # what happens when it is imported
        self._top = [node for node in self._tree.body if node not in inner]
        self.defined = set(self._parts) | {name for node in self._top for name in _assigned(node)}

    @cached_property
    def bound(self) -> dict[str, Place]:
        """Names that its imports bind, anywhere, to where they come from."""
        return {bound: place for node in _running(self._tree) for bound, place in _named(node, self.name, self.package)}

    @cached_property
    def tables(self) -> list[tuple[str, str]]:
        """(name, module) of its literal tables of modules."""
        return [entry for node in ast.walk(self._tree) if isinstance(node, ast.Dict) for entry in _table(node)]

    @cached_property
    def entered(self) -> list[tuple[str, str]]:
        """(name, registry) of what it enters by `@REGISTRY.register("name")`."""
        return [(one.name, one.registry) for one in registrations(self._tree)]

    @cached_property
    def handed_on(self) -> dict[str, Place]:
        """Of a package: names that it only hands on, and where they come from."""
        stub = [ast.parse(self._stub.read_text(encoding="utf-8"))] if self._stub.exists() else []
        found: dict[str, Place] = {name: (place, name) for name, place in self.tables}
        # the imports of a stub or below TYPE_CHECKING say where the names of a lazy package are
        for node in (node for tree in (self._tree, *stub) for node in ast.walk(tree)):
            if isinstance(node, ast.ImportFrom):
                found |= _named(node, self.name, True)
        return found

    def leads_to(self, name: str | None) -> Iterator[Place]:
        """Where the imports lead that run with `name`: those of the file itself and those inside what `name` uses."""
        if name == WHOLE and self.package:
            yield from self.handed_on.values()
        parts = list(self._parts.values()) if name == WHOLE else self._used_by(name)
        # a name that the file itself only imports is handed on
        used = _names([*self._top, *parts]) | {name}
        for node in (node for part in self._top for node in _running(part, itself=True)):
            for bound, (module, inner) in _named(node, self.name, self.package):
                if bound in used:
                    yield module, inner
                elif not self.package:
                    yield module, None
        for node in (node for part in parts for node in _running(part)):
            for _, place in _named(node, self.name, self.package):
                yield place

    def _used_by(self, name: str | None) -> list[ast.AST]:
        """The function or class `name` of this file and all others of it that they mention."""
        found: dict[str, ast.AST] = {}
        # a name that does not stand there is made on demand
        waiting = [*_names(self._top), *([name] if name else []), *([] if name in self.defined else ["__getattr__"])]
        while waiting:
            word = waiting.pop()
            if word in self._parts and word not in found:
                found[word] = self._parts[word]
                waiting += _names([self._parts[word]])
        return list(found.values())


@cache
def sources() -> Sources:
    """Our sources, those of this process."""
    return Sources({name: file for package in _PACKAGES for name, file in _modules(package)})


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    (folder,) = {Path(place) for place in import_module(package).__path__}
    for file in folder.rglob("*.py"):
        inner = file.relative_to(folder).with_suffix("").parts
        yield ".".join((package, *(inner[:-1] if inner[-1] == "__init__" else inner))), file


def _running(tree: ast.AST, itself: bool = False) -> Iterator[ast.AST]:
    """All nodes below `tree`, and `itself`, but those below `if TYPE_CHECKING:`."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test).endswith("TYPE_CHECKING"):
        inner: Iterable[ast.AST] = tree.orelse
    else:
        inner = ast.iter_child_nodes(tree)
    if itself:
        yield tree
    for node in inner:
        yield from _running(node, itself=True)


def _names(parts: Iterable[ast.AST]) -> set[str]:
    """All names that are mentioned."""
    return {node.id for part in parts for node in _running(part, itself=True) if isinstance(node, ast.Name)}


def _named(node: ast.AST, module: str, package: bool) -> list[tuple[str, Place]]:
    """(name that it binds, where it comes from) for each name of an import."""
    if isinstance(node, ast.Import):
        return [(alias.asname or alias.name.partition(".")[0], (alias.name, WHOLE)) for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    source = node.module or ""
    if node.level:
        parts = module.split(".")
        source = ".".join([*parts[: len(parts) - node.level + package], *filter(None, [source])])
    return [(alias.asname or alias.name, (source, alias.name)) for alias in node.names]


def _table(node: ast.Dict) -> Iterator[tuple[str, str]]:
    """(name, module) of a literal table {name: module} or {name: (module, ...)}."""
    for key, value in zip(node.keys, node.values, strict=True):
        first = value.elts[0] if isinstance(value, ast.Tuple) and value.elts else value
        if not isinstance(key, ast.Constant) or not isinstance(first, ast.Constant):
            continue
        if isinstance(key.value, str) and isinstance(first.value, str):
            yield key.value, first.value


def _assigned(node: ast.AST) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def _words(config: Any) -> Iterator[str]:
    """All strings in a configuration, in whatever depth."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        yield from (word for value in config.values() for word in _words(value))
    elif isinstance(config, list | tuple):
        yield from (word for value in config for word in _words(value))

"""What may be written on the command line: groups, their options and keys, read from the YAML files with PyYAML alone.

Help, completion and the near-match errors come from here, so they need neither Hydra nor torch, and cannot drift from
the configs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from embodkd.core.runs.reading import read_yaml

_COMMENTED = re.compile(r"^( *)([\w.]+):[^#\n]*(?:#\s*(.*))?$")


@cache
def folder() -> Path:
    """Where the configs are installed."""
    return Path(str(resources.files("embodkd.configs")))


@cache
def options(group: str, extra: str | None = None) -> tuple[str, ...]:
    """The choices of a group: its files here and, with `extra`, in that folder of the user's."""
    places = [folder() / group, *([Path(extra) / group] if extra else [])]
    return tuple(sorted({file.stem for place in places for file in place.glob("*.yaml")}))


@cache
def _read(file: Path) -> Mapping[str, Any]:
    return read_yaml(file)


@dataclass(frozen=True)
class Config:
    """The top file of one verb."""

    name: str
    extra: str | None = None

    @property
    def file(self) -> Path:
        """Its path."""
        return folder() / f"{self.name}.yaml"

    def groups(self, chosen: Mapping[str, str | None] | None = None) -> dict[str, str | None]:
        """Group -> option under the choices made; None where nothing is chosen unless the user does."""
        found: dict[str, str | None] = {}
        for entry in _read(self.file).get("defaults", []):
            if isinstance(entry, dict):
                name, option = next(iter(entry.items()))
                if not name.startswith("override "):
                    found[name] = option
        found |= {group: option for group, option in (chosen or {}).items() if group in found}
        # A default such as ${task} follows another group.
        return {g: found.get(o[2:-1], None) if o and o.startswith("${") else o for g, o in found.items()}

    def top(self) -> dict[str, Any]:
        """The keys of the top file itself."""
        return {k: v for k, v in _read(self.file).items() if k not in ("defaults", "hydra")}

    def keys(self, chosen: Mapping[str, str | None] | None = None) -> dict[str, Any]:
        """Dotted key -> default, inner nodes included, for these choices (the default ones where not given)."""
        found = dict(_flat(self.top()))
        for group, option in self.groups(chosen).items():
            if option is not None:
                found[group] = None
                # Its name is what the choice itself says.
                found.update(_flat({k: v for k, v in self.option(group, option).items() if k != "name"}, f"{group}."))
        return found

    def texts(self, chosen: Mapping[str, str | None] | None = None) -> dict[str, bool]:
        """Dotted key -> whether it may hold several: those whose comment ends with [text] or [texts].

        One that takes a number or a text, "[1.., text]", is read by Hydra's grammar, which tells them apart.
        """
        own = [(g, o) for g, o in self.groups(chosen).items() if o is not None and o in options(g, self.extra)]
        files = [("", self.file), *((f"{group}.", self.option_file(group, option)) for group, option in own)]
        said = {f"{prefix}{key}": comment for prefix, file in files for key, comment in comments(file).items()}
        found = {key: comment.rpartition("[")[2] for key, comment in said.items() if comment.endswith("]")}
        return {key: "texts" in mark for key, mark in found.items() if mark.startswith("text")}

    def option(self, group: str, option: str) -> Mapping[str, Any]:
        """The content of one option of a group, {} if there is no such file."""
        return _read(self.option_file(group, option)) if option in options(group, self.extra) else {}

    def option_file(self, group: str, option: str) -> Path:
        """Where an option is stored: the user's own folder goes first."""
        own = Path(self.extra) / group / f"{option}.yaml" if self.extra else None
        return own if own is not None and own.exists() else folder() / group / f"{option}.yaml"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        yield f"{prefix}{key}", value
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")


@cache
def comments(file: Path) -> dict[str, str]:
    """Dotted key -> the comment behind it in the file: the help text of that key."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        match = _COMMENTED.match(line)
        if match:
            indent, key, comment = len(match[1]), match[2], match[3]
            path = [(i, k) for i, k in path if i < indent] + [(indent, key)]
            found[".".join(k for _, k in path)] = comment or ""
    return found

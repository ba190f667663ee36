"""A table of things that users call by name, with the metadata beside each one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Any, TypeVar

Member = TypeVar("Member")


def near(name: str, choices: Iterable[str]) -> str:
    """A sentence that helps after a wrong name: the nearest right ones, or all of them.

    `near("peg_hol", ["peg_hole", "pick_lift"])` -> `"did you mean 'peg_hole'? "` plus the whole list.
    """
    known = sorted(choices)
    if not known:
        return "there are none"
    matches = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(m) for m in matches)}? " if matches else ""
    return f"{hint}known: {', '.join(known)}"


class Registry:
    """Names -> members (classes or functions) of one kind.

    `kind` is the word used in error messages ("task", "policy", "method").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._members: dict[str, Any] = {}
        self._metadata: dict[str, dict[str, Any]] = {}

    def register(self, name: str, **metadata: Any) -> Callable[[Member], Member]:
        """Decorator that enters a class or function under `name`; ValueError if the name is taken."""

        def enter(member: Member) -> Member:
            former = self._members.get(name)
            if former is not None and former is not member:
                raise ValueError(f"{self.kind} {name!r} is registered twice: {former!r} and {member!r}")
            self._members[name] = member
            self._metadata[name] = dict(metadata)
            return member

        return enter

    def get(self, name: str) -> Any:
        """The member called `name`; ValueError that names the nearest ones otherwise."""
        self._check(name)
        return self._members[name]

    def metadata(self, name: str) -> MappingProxyType[str, Any]:
        """What was said about `name` when it was registered (read-only)."""
        self._check(name)
        return MappingProxyType(self._metadata[name])

    def name_of(self, member: Any) -> str:
        """The name under which `member` is registered; ValueError if it is not."""
        for name, candidate in self._members.items():
            if candidate is member:
                return name
        title = getattr(member, "__name__", repr(member))
        raise ValueError(f"{title} is not a registered {self.kind}: {near(title, self._members)}")

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._members))

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._members)

    def _check(self, name: str) -> None:
        if name not in self._members:
            raise ValueError(f"unknown {self.kind} {name!r}: {near(name, self._members)}")

"""What is known of an observation group far from the task that makes it: in a policy's folder, in a stored dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np

from embodkd.core.config.ranges import Count
from embodkd.core.config.schema import build


class StoredGroup(TypedDict):
    """What a file says of a group at the least; `GroupFacts.from_dict` looks at all of it."""

    shape: list[Count]
    privileged: bool


@dataclass(frozen=True)
class GroupFacts:
    """All that a policy asks of a group: its name, shape, whether a deployed robot lacks it, dtype, unit, meaning, and
    what the single numbers of a vector are called, () where nobody says."""

    name: str
    shape: tuple[Count, ...]
    privileged: bool
    dtype: str = "float32"
    unit: str = ""
    doc: str = ""
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, group: Any) -> GroupFacts:
        """The same facts from a task's group (anything with these attributes)."""
        dtype, unit, doc = (str(getattr(group, fact)) for fact in ("dtype", "unit", "doc"))
        names = tuple(getattr(group, "names", ()))
        return cls(group.name, tuple(group.shape), bool(group.privileged), dtype, unit, doc, names)

    def as_dict(self) -> dict[str, Any]:
        """All but the name, for JSON; `from_dict` reads it."""
        facts = {field: value for field, value in vars(self).items() if field != "name"}
        return {field: list(value) if isinstance(value, tuple) else value for field, value in facts.items()}

    @classmethod
    def from_dict(cls, name: str, stored: Mapping[str, Any]) -> GroupFacts:
        """The group `name` from what `as_dict` gave; ValueError for anything else."""
        found = build(cls, stored, f"groups.{name}", name=name)
        if found.dtype not in np.sctypeDict:
            raise ValueError(f"groups.{name}.dtype: {found.dtype!r} is no type of numbers")
        return found

    @property
    def is_image(self) -> bool:
        """Whether it is a picture (C, H, W) of bytes."""
        return self.dtype == "uint8"

"""What a task promises to the outside: named observation groups, action size, rate and length of an episode."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np


@dataclass(frozen=True)
class Column:
    """Neighbouring numbers of a group: what they are, how many, their unit, and along whose axes they are.

    ``frame`` is "world" or the name of what carries the axes; "" where none matter.  "5 rad/s" as a unit: that is 1.
    """

    name: str
    size: int
    unit: str
    frame: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.frame})" if self.frame else self.name


@dataclass(frozen=True)
class Group:
    """One named part of what a task can observe.

    A group is *privileged* as soon as anything it is computed from would be unknown to a deployed robot
    (true object poses, simulator segmentation, frames attached to an object); otherwise it is *deployable*.
    Images are ``uint8`` and channel first, (C, H, W); everything else is ``float32`` within +-``limit``.
    """

    name: str
    shape: tuple[int, ...]
    privileged: bool
    unit: str
    doc: str
    dtype: str = "float32"
    limit: float = 1000.0
    columns: tuple[Column, ...] = ()

    @classmethod
    def of(cls, name: str, *columns: Column, privileged: bool) -> Group:
        """A vector that says what each of its numbers is."""
        size = sum(column.size for column in columns)
        # neighbours of one unit are said once
        units = ", ".join(unit for unit, _ in groupby(column.unit for column in columns))
        return cls(name, (size,), privileged, units, ", ".join(map(str, columns)), columns=columns)

    @property
    def deployable(self) -> bool:
        """Whether a robot outside the simulator would have this group."""
        return not self.privileged

    @property
    def is_image(self) -> bool:
        """Whether the group is a (C, H, W) image of bytes."""
        return self.dtype == "uint8"

    def zeros(self, count: int) -> np.ndarray:
        """An empty batch of this group, (count, *shape)."""
        return np.zeros((count, *self.shape), dtype=self.dtype)


@dataclass(frozen=True)
class TaskSpec:
    """The contract of one configured task, the same through every door.

    ``failures`` names the codes of ``info["failure"]``; code 0 is always "none".  ``changes`` says what is no longer as
    it was in the task's first version, one sentence for each version since: figures of two versions do not compare.
    """

    name: str
    engine: str
    groups: dict[str, Group]
    action_size: int
    control_hz: float
    max_steps: int
    failures: tuple[str, ...]
    options: dict[str, object] = field(default_factory=dict)
    changes: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """The first one is 1."""
        return 1 + len(self.changes)

    def check_groups(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return ``names`` as a tuple, or raise ``ValueError`` with the nearest groups that exist."""
        for name in names:
            if name not in self.groups:
                near = difflib.get_close_matches(name, self.groups, n=2)
                hint = f" (did you mean {' or '.join(near)}?)" if near else ""
                raise ValueError(
                    f"task {self.name!r} has no observation group {name!r}{hint}; it offers: {', '.join(self.groups)}"
                )
        return tuple(names)

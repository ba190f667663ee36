"""What is known of an observation group far from the task that makes it: in a policy's folder, in a stored dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GroupFacts:
    """All that a policy asks of a group: its name, shape, whether a deployed robot lacks it, dtype and unit."""

    name: str
    shape: tuple[int, ...]
    privileged: bool
    dtype: str = "float32"
    unit: str = ""

    @classmethod
    def of(cls, group: Any) -> GroupFacts:
        """The same facts from a task's group (anything with these attributes)."""
        return cls(group.name, tuple(group.shape), bool(group.privileged), str(group.dtype), str(group.unit))

    @property
    def is_image(self) -> bool:
        """Whether it is a picture (C, H, W) of bytes."""
        return self.dtype == "uint8"

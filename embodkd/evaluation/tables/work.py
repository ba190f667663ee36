"""What is done with each item of a table, in whichever process and on whichever machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol


class Work(Protocol):
    """What is done with each item of a table, and what another machine needs to know to do it.

    root: the absolute folder that all paths below are relative to; place: one in which all items leave what they make.
    """

    root: Path
    place: Path

    def __call__(self, item: Any, root: Path | None = None, patience_s: float = math.inf) -> Any:
        """Do it, in `root` instead of the usual one; held.Busy where another process is at it for `patience_s`."""

    def reads(self, item: Any) -> Sequence[Path]:
        """Files and folders that it needs, relative to the root; what other items left."""

    def leaves(self, item: Any) -> Sequence[Path]:
        """Files and folders that it makes, relative to the root, in the order in which they may appear."""

    def on_gpu(self, item: Any) -> bool:
        """Whether it asks for a graphics card."""

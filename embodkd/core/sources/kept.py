"""What sources keep on disk beside checkpoints: numbered folders, never rewritten, removed when no checkpoint asks."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from embodkd.core.runs.files import remove_folder


def remove_outdated(folder: Path, name: str, needed: Collection[int]) -> None:
    """Remove those of `folder`/NAME_0, NAME_1... that no checkpoint needs any more, or that will be written again.

    needed: the numbers that the newest checkpoint asks for. Of those before them the last stays: it is the former
    checkpoint's, should the newest be damaged. What comes after them belongs to work that is about to be repeated.
    """
    there = {int(path.name[len(name) + 1 :]): path for path in folder.glob(f"{name}_*")}
    before = [number for number in there if needed and number < min(needed)]
    for number in sorted(there.keys() - set(needed) - {max(before, default=-1)}):
        remove_folder(there[number])

"""A run that came to nothing leaves nothing: what a run folder holds before anything was learned in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embodkd.core.runs.files import sweep_leftovers

# Written when the folder is opened: what was asked for, and the digest of what it was asked of.
ASKED = frozenset({"config.yaml", "manifest.json", "data.json"})
# What steps before the first update leave behind.
PREPARED = ASKED | {"metrics.jsonl", "tensorboard", "banks", "source"}


def missing_folders(path: Path) -> list[Path]:
    """`path` and those of its parents that are not there, the deepest first."""
    return [p for p in (path, *path.parents) if not p.exists()]


def remove_unbegun(folder: Path, made: list[Path], held: frozenset[str]) -> None:
    """Remove a run's folder and the parents `made` for it, if there is nothing in it but `held`."""
    sweep_leftovers(folder)
    inside = {p.name: p for p in folder.iterdir()}
    if not inside.keys() <= held | {".lock"}:
        return
    for path in inside.values():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    remove_empty(made)


def remove_empty(made: list[Path]) -> None:
    """Remove these folders, the deepest first, up to one that holds something."""
    for path in made:
        if any(path.iterdir()):
            return  # somebody else's
        path.rmdir()


@contextmanager
def parents_of(file: Path) -> Iterator[None]:
    """The folders of a file that is about to be written; those that were made for it go again if the block fails."""
    made = missing_folders(file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        remove_empty(made)
        raise

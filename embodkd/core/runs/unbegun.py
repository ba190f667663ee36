"""A run that came to nothing leaves nothing: what a run folder holds before anything was learned in it."""

from __future__ import annotations

import shutil
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
    for path in made:
        if any(path.iterdir()):
            return  # somebody else's
        path.rmdir()

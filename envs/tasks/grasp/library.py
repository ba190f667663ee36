"""Objects to grasp, with how they lie and what sets them apart: which may be learned from, and which only judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from embodkd.envs.tasks.grasp import kinds
from embodkd.envs.tasks.grasp.codes import codes
from embodkd.envs.tasks.grasp.meshes import RANDOM, prepared
from embodkd.envs.tasks.grasp.resting import Resting, read_resting
from embodkd.envs.tasks.grasp.solids import Thing
from embodkd.envs.tasks.grasp.table import Table, compiled

from embodkd.core.config.registry import near

Split = Literal["seen", "unseen_size", "unseen_class", "all"]
RESTING_FILE = Path(__file__).with_name("resting.safetensors")
_EVERY = 5  # one in so many is held out


@dataclass(frozen=True, eq=False)
class Library:
    """M objects: their rows of MuJoCo's fields, how each lies, its shape code (M, 32), the split it is in (M,)."""

    things: tuple[Thing, ...]
    table: Table
    resting: Resting
    code: np.ndarray
    split: np.ndarray

    def pool(self, split: Split, only: Sequence[str]) -> np.ndarray:
        """Rows of the objects in a split; ``only`` those of these classes or names, if any are named.

        Raises ``ValueError`` for a name that no object and no class has, and where nothing is left.
        """
        kind = np.array([thing.kind for thing in self.things])
        name = np.array([thing.name for thing in self.things])
        for word in only:
            if word not in kind and word not in name:
                known = (*dict.fromkeys(kind.tolist()), *name.tolist())
                raise ValueError(f"task grasp.only: no class or object is called {word!r}: {near(word, known)}")
        chosen = np.isin(kind, only) | np.isin(name, only) if only else np.ones(len(kind), bool)
        rows = np.flatnonzero(chosen & ((self.split == split) | (split == "all")))
        if not len(rows):
            there = sorted(set(self.split[chosen].tolist()))
            raise ValueError(f"task grasp: no such object is in the split {split}; choose {' or '.join(there)}")
        return rows


def held_out(resting: Resting, rows: np.ndarray) -> np.ndarray:
    """One in five of these rows, in order of how high they lie: both parts have low and high ones alike."""
    order = rows[np.argsort(resting.height[rows].mean(axis=1), kind="stable")]
    return order[_EVERY // 2 :: _EVERY]


def procedural() -> list[Thing]:
    """The procedural objects, seen classes first."""
    return [*kinds.members(kinds.SEEN, kinds.EACH["seen"]), *kinds.members(kinds.UNSEEN, kinds.EACH["unseen"])]


@cache
def primitives() -> Library:
    """What ``kinds`` draws: 300 objects of 12 classes, a fifth of each held out by size, and 60 of 5 unseen classes."""
    things = procedural()
    resting = read_resting(RESTING_FILE)
    assert len(resting.height) == len(things), "python -m benchmarks.grasp_resting drops the objects anew"
    table = compiled(things)
    kind = np.array([thing.kind for thing in things])
    split = np.where(np.isin(kind, list(kinds.UNSEEN)), "unseen_class", "seen")
    split = split.astype("<U16")
    for name in kinds.SEEN:
        split[held_out(resting, np.flatnonzero(kind == name))] = "unseen_size"
    return Library(tuple(things), table, resting, codes(things, table), split)


@cache
def meshes(objects: str) -> Library:
    """What ``meshes.prepare`` has made of a folder or of ``random_urdfs``; a fifth of them is the unseen class."""
    things, resting = prepared(objects)
    table = compiled(things)
    split = np.full(len(things), "seen", dtype="<U16")
    split[held_out(resting, np.arange(len(things)))] = "unseen_class"
    return Library(tuple(things), table, resting, codes(things, table), split)


def library(objects: str) -> Library:
    """The objects of a name: "primitives", "random_urdfs", or a folder of meshes; ``ValueError`` if it is none."""
    if objects == "primitives":
        return primitives()
    if objects != RANDOM and not Path(objects).is_dir():
        raise ValueError(f"task grasp.objects: {objects!r} is no folder; choose primitives, {RANDOM} or a folder")
    return meshes(objects)

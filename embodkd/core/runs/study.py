"""A study: a folder of runs that differ in what was swept, as Hydra's multirun leaves it.

runs/<study>/multirun.yaml                     what was asked for, by Hydra
             .multirun/<run>/overrides.yaml    what each run was asked for, by Hydra
             <run>/                            the run folders, `seed=0`, `seed=1`, ...
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embodkd.core.runs.reading import read_yaml

FILE = "multirun.yaml"
ASIDE = ".multirun"
"""Where Hydra keeps its files of the single runs: a run folder of a study is one as any other."""


@dataclass(frozen=True)
class StudyRun:
    """One run of a study and what it was asked for beside what all were: key of the command line -> value as text.

    A run of another study that it was made from (`teacher=runs/t/seed=1`) stands there by what sets that one apart.
    """

    folder: Path
    choices: Mapping[str, str] = field(default_factory=dict)

    @property
    def seed(self) -> int | None:
        """Its seed, None where that was not swept."""
        text = self.choices.get("seed", "")
        return int(text) if text.isdecimal() else None

    @property
    def group(self) -> dict[str, str]:
        """What sets it apart beside its seed: runs that agree in this differ by chance alone."""
        return {key: value for key, value in self.choices.items() if key != "seed"}


@dataclass(frozen=True)
class Study:
    """A folder of runs, in natural order of what was swept (2 before 10)."""

    folder: Path
    runs: tuple[StudyRun, ...]

    @property
    def swept(self) -> tuple[str, ...]:
        """The keys in which its runs differ, or by which a single one is named."""
        return tuple(dict.fromkeys(key for run in self.runs for key in run.choices))

    def find(self, name: str) -> StudyRun:
        """The run of this index, or of these choices: "2", "seed=1", "student=blind,seed=1"; ValueError if not one."""
        wanted = dict(part.partition("=")[::2] for part in name.split(","))
        found = [run for run in self.runs if wanted.items() <= run.choices.items() or run.folder.name == name]
        if name.isdecimal():
            found = list(self.runs[int(name) : int(name) + 1])
        if len(found) != 1:
            said = f"{len(found)} of its runs are" if found else f"none of its {len(self.runs)} runs is"
            names = ", ".join(run.folder.name for run in self.runs[:6]) + (", ..." if len(self.runs) > 6 else "")
            raise ValueError(
                f"{self.folder}: {said} {name!r}; there are {names}: name one of them, or its index from 0"
            )
        return found[0]


def is_study(folder: str | Path) -> bool:
    """Whether a folder is a study, and not a run or a folder of any runs."""
    return (Path(folder) / FILE).is_file()


def read_study(folder: str | Path) -> Study:
    """The study in a folder, with those of its runs that are there; ValueError if there is none."""
    folder = Path(folder)
    if not is_study(folder):
        raise ValueError(f"{folder}: is no study: it has no {FILE}; `-m seed=0,1,2` makes one")
    asked = {}
    for file in folder.glob(f"{ASIDE}/*/overrides.yaml"):
        words = read_yaml(file, list[str])
        asked[file.parent.name] = dict(word.lstrip("+").partition("=")[::2] for word in words)
    there = {name: words for name, words in asked.items() if (folder / name / "config.yaml").is_file()}
    apart = {key for words in there.values() for key in words if len({w.get(key) for w in asked.values()}) > 1}
    if not apart:  # a study of one: by what its folder is named
        apart = {part.partition("=")[0] for name in there for part in name.split(",") if "=" in part}
    runs = [StudyRun(folder / name, _choices(words, apart)) for name, words in there.items()]
    return Study(folder, tuple(sorted(runs, key=lambda run: natural(run.folder.name))))


def run_of_study(path: str | Path) -> Path:
    """The run that a path means: `runs/study/2` and `runs/study/seed=1` are runs of a study by index and by choice.

    What is there is taken as it is; ValueError if the study has no such run.
    """
    path = Path(path)
    if os.path.lexists(path) or not is_study(path.parent):
        return path
    return read_study(path.parent).find(path.name).folder


def natural(name: str) -> list[tuple[int, float, str]]:
    """A key that sorts names as people do: 2 before 10, 0.5 before 1."""
    parts = re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?|[^\d]+", name)
    return [(0, float(part), "") if part[0].isdecimal() else (1, 0.0, part) for part in parts]


def _choices(words: Mapping[str, str], apart: set[str]) -> dict[str, str]:
    choices: dict[str, str] = {}
    for key, value in words.items():
        if key not in apart:
            continue
        text = value.strip("'\"")
        if "/" in text and "=" in Path(text).name:
            of_other = dict(part.partition("=")[::2] for part in Path(text).name.split(","))
            choices |= {f"{key}.{k}": v for k, v in of_other.items() if k != "seed"}
            choices.setdefault("seed", of_other.get("seed", ""))
        else:
            choices[key] = text
    return {key: value for key, value in choices.items() if value}

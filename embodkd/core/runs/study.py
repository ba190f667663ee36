"""A study: a folder of runs that differ in what was swept, as Hydra's multirun leaves it.

runs/<study>/multirun.yaml                     what was asked for, by Hydra
             .multirun/<run>/overrides.yaml    what each run was asked for, by Hydra
             <run>/                            the run folders, `seed=0`, `seed=1`, ...
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embodkd.core.runs.reading import read_yaml

FILE = "multirun.yaml"
ASIDE = ".multirun"
"""Where Hydra keeps its files of the single runs: a run folder of a study is one as any other."""
_HOW = frozenset({"run", "resume", "quiet", "tracker"})
"""Keys that change what is said meanwhile, and not what a run is."""


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
        """What sets it apart beside seeds: runs that agree in this differ by chance alone."""
        return {key: value for key, value in self.choices.items() if key.rpartition(".")[2] != "seed"}


@dataclass(frozen=True)
class Study:
    """A folder of runs, in natural order of what was swept (2 before 10)."""

    folder: Path
    runs: tuple[StudyRun, ...]

    @property
    def swept(self) -> tuple[str, ...]:
        """The keys in which its runs differ, or by which a single one is named."""
        return tuple(dict.fromkeys(key for run in self.runs for key in run.choices))

    def named(self, name: str) -> tuple[StudyRun, ...]:
        """The run of this index, or all with these choices: "2", "seed=1", "student=blind"; ValueError if none is."""
        if name.isdecimal():
            found = self.runs[int(name) : int(name) + 1]
        else:
            wanted = dict(part.partition("=")[::2] for part in name.split(","))
            found = tuple(run for run in self.runs if wanted.items() <= run.choices.items() or run.folder.name == name)
        if not found:
            names = ", ".join(run.folder.name for run in self.runs[:6]) + (", ..." if len(self.runs) > 6 else "")
            raise ValueError(
                f"{self.folder}: none of its runs is {name!r}; name one by its index from 0, or of {names}"
            )
        return found


def is_study(folder: str | Path) -> bool:
    """Whether a folder is a study, and not a run or a folder of any runs."""
    return (Path(folder) / FILE).is_file()


def read_study(folder: str | Path) -> Study:
    """The study in a folder, with those of its runs that are there; ValueError if there is none."""
    folder = Path(folder)
    if not is_study(folder):
        raise ValueError(f"{folder}: is no study: it has no {FILE}; `-m seed=0,1,2` makes one")
    there = {}
    for file in folder.glob(f"{ASIDE}/*/overrides.yaml"):
        # of a run that is not there yet, another process may be writing this file
        if (folder / file.parent.name / "config.yaml").is_file():
            words = read_yaml(file, list[str])
            there[file.parent.name] = dict(word.lstrip("+").partition("=")[::2] for word in words)
    keys = {key for words in there.values() for key in words} - _HOW
    apart = {key for key in keys if len({words.get(key) for words in there.values()}) > 1}
    if not apart:  # a study of one: by what its folder is named
        apart = {part.partition("=")[0] for name in there for part in name.split(",") if "=" in part}
    runs = [StudyRun(folder / name, choices(words, apart)) for name, words in there.items()]
    return Study(folder, tuple(sorted(runs, key=lambda run: natural(run.folder.name))))


def runs_at(path: str | Path) -> tuple[StudyRun, ...] | None:
    """The runs that a path means: of a study all, of `runs/study/2` and `runs/study/seed=1` those of that name.

    None where the path has nothing to do with a study; ValueError if the study has no such run, or none at all.
    """
    path = Path(path)
    if is_study(path):
        found = read_study(path).runs
        if not found:
            raise ValueError(f"{path}: none of the runs of this study was begun")
        return found
    if not (path.name.isdecimal() or "=" in path.name) or not is_study(path.parent):
        return None
    study = read_study(path.parent)
    there = tuple(run for run in study.runs if run.folder.name == path.name)
    if there or path.exists():
        return there or None
    return study.named(path.name)


def groups_of(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Runs of studies by what sets them apart beside their seeds: `runs/study/student=blind` -> those folders."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        group = next((run.group for run in runs_at(folder) or ()), {})
        name = "/".join(filter(None, [str(folder.parent), ",".join(f"{k}={v}" for k, v in group.items())]))
        found.setdefault(name, []).append(folder)
    return found


def natural(name: str) -> list[tuple[int, float, str]]:
    """A key that sorts names as people do: 2 before 10, 0.5 before 1."""
    parts = re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?|[^\d]+", name)
    return [(0, float(part), "") if part[0].isdecimal() else (1, 0.0, part) for part in parts]


def choices(words: Mapping[str, str], apart: Collection[str]) -> dict[str, str]:
    """What sets a run apart, key -> value as text, of the words of its command whose keys are `apart`."""
    found: dict[str, str] = {}
    for key, value in words.items():
        text = value.strip("'\"")
        if key not in apart:
            continue
        if "/" in text and "=" in Path(text).name:
            of_other = dict(part.partition("=")[::2] for part in Path(text).name.split(","))
            # a run made from another has its seed, unless it was given one of its own
            found |= {k if k == "seed" and k not in words else f"{key}.{k}": v for k, v in of_other.items()}
        else:
            found[key] = text
    return found

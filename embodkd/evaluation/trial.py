"""A fair comparison as a file: arms that differ in named settings, the same seeds, teachers, budget and episodes.

    title: What must a student see?
    teacher: {task: peg_hole, steps: 500000}          # keys of `embodkd train teacher`, one for each seed
    student: {method: dagger, method.rounds: 4}       # keys of `embodkd distill student` that all arms share
    arms:                                             # name: the keys that are its own; `teacher` gives it another one
      depth: {student: depth_cnn}
      proprioception: {student: blind}
    against: proprioception                           # the arm that the others are held against
    seeds: [0, 1, 2]
    episodes: 200
    margin: 0.05                                      # a difference that would not matter

Each seed of each arm is a cell of the table system, so that what is finished is not made again.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embodkd.core.config.ranges import Count, EpisodeSeed, Share
from embodkd.core.config.registry import near
from embodkd.core.config.schema import build
from embodkd.core.runs.manifest import Manifest
from embodkd.core.runs.reading import read_json, read_yaml
from embodkd.evaluation.comparison import differing
from embodkd.evaluation.comparison_over_seeds import ComparisonOverSeeds, compare_over_seeds
from embodkd.evaluation.multiplicity import holm
from embodkd.evaluation.over_seeds import OverSeeds, crossed_outcomes, grouped
from embodkd.evaluation.result import Evaluation
from embodkd.evaluation.tables.cell import Cell

TEACHER = "teacher"
_SEEN = "options.image_size"
"""How finely the cameras see is the student's affair: the episodes are the same."""


@dataclass(frozen=True)
class Trial:
    """The keys of the file."""

    title: str
    teacher: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    against: str
    student: dict[str, Any] = field(default_factory=dict)
    seeds: list[EpisodeSeed] = field(default_factory=lambda: [0, 1, 2])
    episodes: Count = 200
    margin: Share = 0.05

    def __post_init__(self) -> None:
        if self.against not in self.arms:
            raise ValueError(f"against: no arm {self.against!r}: {near(self.against, self.arms)}")
        if len(self.arms) < 2:
            raise ValueError("arms: name two at least; one has nothing to be compared with")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} are not different seeds: each counts once")
        if TEACHER in self.arms:
            raise ValueError(f"arms: {TEACHER!r} is what they learn from; call the arm something else")


def read_trial(file: str | Path, seeds: Sequence[int] | None = None) -> Trial:
    """The file's content, with other `seeds` if some are given; ValueError, naming the place, for what is wrong."""
    trial: Trial = build(Trial, read_yaml(file), str(file))
    return trial if seeds is None else replace(trial, seeds=list(seeds))


def cells_of(trial: Trial, slug: str, run: Path) -> dict[str, Cell]:
    """The cells, seed by seed, the teachers first: `run`/<arm> is a study of its own, runs/<slug>/<arm> by default."""
    cells: dict[str, Cell] = {}
    for seed in trial.seeds:
        judged = {"episodes": trial.episodes, "torch_threads": 1}
        for arm, own in trial.arms.items():
            teacher = f"{TEACHER}_{arm}" if TEACHER in own else TEACHER
            taught = {**trial.teacher, **own.get(TEACHER, {}), **judged}
            learned = {**trial.student, **own, **judged}
            by = f"{teacher}/seed={seed}"
            cells.setdefault(by, _cell(slug, run, teacher, seed, "train teacher", taught))
            cells[f"{arm}/seed={seed}"] = _cell(slug, run, arm, seed, "distill student", learned, by)
    return cells


def _cell(slug: str, run: Path, arm: str, seed: int, verb: str, keys: Mapping[str, Any], by: str | None = None) -> Cell:
    def words(root: Path) -> str:
        given = dict(keys) if by is None else {**keys, TEACHER: str(root / by)}
        return shlex.join(f"{key}={_written(value)}" for key, value in given.items())

    name, usual = f"{arm}/seed={seed}", Path("runs", slug)
    command = f"{verb} -m {words(run)} 'seed=choice({seed})' {shlex.quote(f'run={run / arm}')}"
    said = f"{verb} {words(usual)} seed={seed} run={usual / name}"
    after = () if by is None else (by,)
    return Cell(name, "main", command, run / name, said, after, {"arm": arm, "seed": seed}, {})


def _written(value: Any) -> str:
    """A value of the file as a word of the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_written(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class ArmResult:
    """What an arm came to, alone and held against the one that all are held against (None: it is that one).

    p_value: by Holm's method for as many comparisons as there are; verdict: with it.
    """

    name: str
    over_seeds: OverSeeds
    minutes: float
    comparison: ComparisonOverSeeds | None = None
    p_value: float | None = None

    @property
    def numbers(self) -> str:
        """What the verdict rests on."""
        numbers = str(self.comparison).partition(": ")[2]
        return "" if self.p_value is None else f"{numbers}; by Holm's method p = {self.p_value:.2g}"

    @property
    def verdict(self) -> str:
        """In words: a difference that Holm's method does not let stand is not called one."""
        if self.comparison is None:
            return ""
        stands = self.comparison.verdict not in ("better", "worse") or (self.p_value or 0.0) <= 0.05
        return self.comparison.verdict if stands else "not told apart, with so many comparisons"


def judge_arms(trial: Trial, run: Path) -> list[ArmResult]:
    """The arms in the order of the file; ValueError, naming the run, where one was not judged."""
    evaluations = {
        arm: [Evaluation.load(run / arm / f"seed={seed}" / "evaluation.json") for seed in trial.seeds]
        for arm in trial.arms
    }
    success = {arm: crossed_outcomes(found) for arm, found in evaluations.items()}
    for arm, (first, *_) in evaluations.items():
        apart = differing(first.protocol, evaluations[trial.against][0].protocol)
        if apart.keys() - {_SEEN}:
            raise ValueError(
                f"arms.{arm}: is judged by other {' and '.join(apart)} than {trial.against}; arms may differ in what "
                "learns, not in what judges it"
            )
    others = [arm for arm in trial.arms if arm != trial.against]
    compared = {
        arm: compare_over_seeds(success[arm], success[trial.against], trial.margin, paired=True) for arm in others
    }
    adjusted = dict(zip(others, holm([compared[arm].p_value for arm in others]), strict=True))
    return [
        ArmResult(arm, grouped(found), _minutes(run / arm, trial.seeds), compared.get(arm), adjusted.get(arm))
        for arm, found in evaluations.items()
    ]


def _minutes(arm: Path, seeds: Sequence[int]) -> float:
    """Of training, a seed."""
    spent = [read_json(arm / f"seed={seed}" / "manifest.json", Manifest).get("minutes") or 0.0 for seed in seeds]
    return sum(spent) / len(spent)

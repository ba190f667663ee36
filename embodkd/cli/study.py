"""`embodkd study`: a fair comparison from one file to a page with a verdict."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embodkd.cli.keys import folder, options
from embodkd.core.config.ranges import EpisodeSeed
from embodkd.core.config.registry import near
from embodkd.evaluation.tables.machines import Jobs

if TYPE_CHECKING:
    from embodkd.evaluation.tables.cell import Cell
    from embodkd.evaluation.trial import Trial


def study(
    study: str | None,
    seeds: list[EpisodeSeed] | EpisodeSeed | None,
    arms: list[str] | None,
    jobs: Jobs,
    run: str | None,
    dry_run: bool,
) -> int:
    """Train what the study's file asks for and is not there yet, and write its page; the exit code is 1 if a training
    failed."""
    if study is None:
        return _listed()
    from embodkd.cli.compose import resolved
    from embodkd.evaluation.report.study import write_study
    from embodkd.evaluation.tables.fill import fill
    from embodkd.evaluation.tables.rows import Rows
    from embodkd.evaluation.trial import cells_of, judge_arms, read_trial

    file = study_file(study)
    trial = _some(read_trial(file, [seeds] if isinstance(seeds, int) else seeds), arms)
    place = Path(run or f"runs/{file.stem}")
    cells = cells_of(trial, file.stem, place)
    check_words(cells)
    print(f"{trial.title} {len(trial.arms)} arms, {len(trial.seeds)} seeds, {len(cells)} trainings in {place}")
    if dry_run:
        print("\n".join(f"embodkd {cell.command}" for cell in cells.values()))
        return 0
    failed = fill(cells, Rows(place / "study.json", file.stem, cells), resolved, jobs=jobs, stale=True)
    if failed:
        print(
            f"embodkd: {failed} of {len(cells)} trainings failed; the same command goes on with them", file=sys.stderr
        )
        return 1
    judged = judge_arms(trial, place)
    for arm in judged:
        print(f"{arm.name}: {arm.over_seeds}")
    for arm in judged:
        if arm.comparison is not None:
            print(f"{arm.name} against {trial.against}: {arm.verdict}, {arm.numbers}")
    print(write_study(trial, judged, place))
    return 0


def study_file(study: str) -> Path:
    """The file of a study, by its name or its path; ValueError with the nearest name for one that is not there."""
    if study.endswith((".yaml", ".yml")):
        return Path(study)
    known = options("studies")
    if study not in known:
        raise ValueError(f"study: no study {study!r}: {near(study, known)}; or give the path of a YAML file")
    return folder() / "studies" / f"{study}.yaml"


def check_words(cells: Mapping[str, Cell]) -> None:
    """Refused, with the nearest right word, before anything is trained, for a key that a command does not have."""
    from embodkd.cli.overrides import parse
    from embodkd.cli.verbs import find

    for cell in cells.values():
        verb, rest = find(shlex.split(cell.command))
        assert verb is not None
        parse(verb, rest)


def _some(trial: Trial, arms: Sequence[str] | None) -> Trial:
    """The study with some of its arms."""
    if arms is None:
        return trial
    for arm in arms:
        if arm not in trial.arms:
            raise ValueError(f"arms: no arm {arm!r}: {near(arm, trial.arms)}")
    return replace(trial, arms={name: keys for name, keys in trial.arms.items() if name in {*arms, trial.against}})


def _listed() -> int:
    """One line for each study that came along."""
    from embodkd.core.runs.reading import read_yaml

    names = options("studies")
    width = max(map(len, names), default=0)
    for name in names:
        print(f"{name:<{width}}  {read_yaml(folder() / 'studies' / f'{name}.yaml')['title']}")
    return 0

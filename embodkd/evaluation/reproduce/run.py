"""Fill a table, seed by seed, here or in several processes side by side, and write what it comes to."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from embodkd.core.config.registry import near
from embodkd.core.runs.files import write_atomic
from embodkd.core.runs.manifest import hardware
from embodkd.core.runs.memory import keep_freed_memory
from embodkd.core.runs.progress import Progress, progress
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.reproduce.cells import Cells
from embodkd.evaluation.reproduce.code import known_digests
from embodkd.evaluation.reproduce.read import read
from embodkd.evaluation.reproduce.spec import Table, Training
from embodkd.evaluation.reproduce.summary import summarise
from embodkd.evaluation.reproduce.training import untrained

_NUMBERS = re.compile(r"\[\n\s*[-\d.e+]+(,\n\s*[-\d.e+]+)*\n\s*\]")


def reproduce(
    file: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    arms: Sequence[str] | None = None,
    jobs: int = 1,
    run: str | Path | None = None,
    trainer: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Train what is missing of the table in `file`; (its summary with a manifest, whether it is the whole table).

    seeds, arms: only these; jobs: seeds side by side, each in a process with one thread; run: the folder of the cells,
    runs/reproduce/SLUG by default; trainer: settings of the Trainer that win over the file's. A cell is stored as soon
    as it is measured, and used again as long as its config, the code and the versions stay the same.
    """
    table = read(file, trainer)
    chosen_seeds = list(table.seeds if seeds is None else seeds)
    chosen_arms = list(table.arms if arms is None else arms)
    for name in chosen_arms:
        if name not in table.arms:
            raise ValueError(f"arms: {table.slug} has no arm {name!r}: {near(name, table.arms)}")
    if jobs < 1 or not chosen_seeds or not chosen_arms:
        raise ValueError(f"seeds, arms and jobs: at least one of each, got {chosen_seeds}, {chosen_arms}, {jobs}")
    folder = Path(run or f"runs/reproduce/{table.slug}")
    one_thread()
    todo = {seed: Cells(table, seed, folder).missing(chosen_arms) for seed in chosen_seeds}
    # A mistake in the last arm must not show after hours: everything is built once before anything is trained.
    for training in {one.name: one for needed in todo.values() for one in needed}.values():
        untrained(training, chosen_seeds[0])
    with progress(sum(map(len, todo.values())), f"reproduce {table.slug}", quiet=quiet) as bar:
        if jobs == 1:
            for seed in chosen_seeds:
                fill(table, seed, chosen_arms, folder, lambda name: bar.advance(1, done=name))
        else:
            words = {"file": str(file), "arms": chosen_arms, "run": str(folder), "trainer": dict(trainer or {})}
            _side_by_side([seed for seed, needed in todo.items() if needed], words, jobs, bar)
    whole = set(chosen_arms) == set(table.arms) and set(chosen_seeds) >= set(table.seeds)
    return _result(table, chosen_seeds, chosen_arms, folder), whole


def fill(table: Table, seed: int, arms: list[str], folder: Path, done: Callable[[str], None]) -> None:
    """Train what is missing of one seed; `done(name)` after each cell."""
    with Cells(table, seed, folder) as cells:
        for training in cells.missing(arms):
            try:
                cells.fill(training)
            except Exception as error:
                error.add_note(f"while training {training.name!r} with seed {seed}")
                raise
            done(f"{training.name}/{seed}")


def one_thread() -> None:
    """Results depend on the number of threads: one, and memory that stays with the process."""
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()


def _side_by_side(seeds: list[int], words: dict[str, Any], jobs: int, bar: Progress) -> None:
    """One process per seed, `jobs` at a time; each says a line per finished cell."""
    running: list[subprocess.Popen[str]] = []

    def work(seed: int) -> None:
        asked = {**words, "seed": seed, "code": known_digests()}
        command = [sys.executable, "-m", "embodkd.evaluation.reproduce", json.dumps(asked)]
        log = Path(words["run"]) / f"seed_{seed}" / "log.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (
            log.open("w", encoding="utf-8") as stream,
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stream, text=True) as child,
        ):
            running.append(child)
            assert child.stdout is not None
            for line in child.stdout:
                bar.advance(1, done=line.strip())
        if child.returncode:
            raise ValueError(f"seed {seed} stopped: {_last_words(log)}; the whole trace is in {log}")

    with ThreadPoolExecutor(jobs) as pool:
        try:
            for result in [pool.submit(work, seed) for seed in seeds]:
                result.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in running:
                child.terminate()
            raise


def _last_words(log: Path) -> str:
    """What stands below the last frame of the trace in `log`: the error and its notes."""
    lines = log.read_text(encoding="utf-8").rstrip().splitlines()
    below = itertools.takewhile(lambda line: not line.startswith("  "), reversed(lines))
    return " ".join(reversed(list(below))) or "it was killed"


def _result(table: Table, seeds: list[int], arms: list[str], folder: Path) -> dict[str, Any]:
    trainings: list[Training] = [*table.teachers.values(), *(table.arms[name].training for name in arms)]
    rows: dict[str, dict[int, Any]] = {training.name: {} for training in trainings}
    for seed in seeds:
        cells = Cells(table, seed, folder)
        for training in trainings:
            row = cells.stored(training)
            if row is None:
                raise ValueError(f"{cells.place(training)}: was changed while the table was filled; run it again")
            rows[training.name][seed] = row
    commits = sorted({str(row["git_commit"]) for of_seed in rows.values() for row in of_seed.values()})
    facts = {k: v for k, v in manifest_of(None).items() if k not in ("policy", "weights_sha256")}
    manifest = {**facts, "hardware": hardware(), "threads": 1, "cells_git_commit": commits}
    return {**summarise(table, rows, seeds, arms), "manifest": manifest}


def write(result: Mapping[str, Any], out: str | Path) -> Path:
    """Write a result as JSON, whole or not at all, each list of numbers on one line."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    text = _NUMBERS.sub(
        lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), json.dumps(result, indent=1)
    )
    write_atomic(out, text + "\n")
    return out

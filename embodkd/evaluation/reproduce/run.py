"""Fill a table, here, in several processes side by side or on several machines, and write what it comes to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from platform import node
from typing import Any

from embodkd.core.runs.files import write_atomic
from embodkd.core.runs.manifest import hardware
from embodkd.core.runs.progress import progress
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.reproduce.cells import Cells, judges
from embodkd.evaluation.reproduce.file import arms_of, read
from embodkd.evaluation.reproduce.spec import Reproduction, Training
from embodkd.evaluation.reproduce.stale import sources_of
from embodkd.evaluation.reproduce.summary import summarise
from embodkd.evaluation.reproduce.training import fingerprint, untrained
from embodkd.evaluation.reproduce.workers import one_thread, workers
from embodkd.evaluation.tables.held import held
from embodkd.evaluation.tables.machines import Jobs, machines
from embodkd.evaluation.tables.order import in_order
from embodkd.evaluation.tables.rows import as_lines

Cell = tuple[Training, int]
"""A training with its seed."""


def reproduce(
    file: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    arms: Sequence[str] | None = None,
    jobs: Jobs = 1,
    run: str | Path | None = None,
    trainer: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Train what is missing of the table in `file`; (its summary with a manifest, whether it is the whole table).

    seeds, arms: only these; jobs: cells side by side, each in a process with one thread, or which cluster (`machines`);
    run: the folder of the cells, runs/reproduce/SLUG by default; trainer: settings of the Trainer that win over the
    file's. A cell is stored as soon as it is measured, and used again as long as its config, the sources that it runs
    and the versions stay the same.
    """
    table = read(file, trainer)
    chosen_seeds = list(table.seeds if seeds is None else seeds)
    chosen_arms = arms_of(table, arms)
    if (isinstance(jobs, int) and jobs < 1) or not chosen_seeds or not chosen_arms:
        raise ValueError(f"seeds, arms and jobs: at least one of each, got {chosen_seeds}, {chosen_arms}, {jobs}")
    folder = Path(run or f"runs/reproduce/{table.slug}")
    one_thread()
    with ExitStack() as locks:
        cells = {seed: locks.enter_context(Cells(table, seed, folder)) for seed in chosen_seeds}
        todo = {f"{one.name}/{seed}": (one, seed) for seed in chosen_seeds for one in cells[seed].missing(chosen_arms)}
        # A mistake in the last arm must not show after hours: everything is built once before anything is trained.
        for training in {one.name: one for one, _ in todo.values()}.values():
            untrained(training, chosen_seeds[0])
        judged_by = judges(table)
        shown = progress(len(todo), f"reproduce {table.slug}", quiet=quiet)
        with shown as bar, machines(jobs if todo else 1, workers) as (pool, width):
            train = Trainings(table, folder, todo.values())
            in_order(todo, partial(_after, judged_by), train, pool, width, lambda n, _: bar.advance(1, done=n), _stop)
        result = _result(table, cells, chosen_arms)
    return result, set(chosen_arms) == set(table.arms) and set(chosen_seeds) >= set(table.seeds)


def _after(judged_by: Sequence[Training], cell: Cell) -> list[str]:
    """The cells that one needs: its teachers, and those of whoever measures it, which may be more."""
    training, seed = cell
    return [f"{teacher.name}/{seed}" for one in _asked(judged_by, training) for teacher in one.teachers.values()]


def _asked(judged_by: Sequence[Training], training: Training) -> list[Training]:
    return [training] if training.teaches else [training, *judged_by]


class Trainings:
    """The Work of a method's table: each item trains a cell."""

    def __init__(self, table: Reproduction, folder: Path, cells: Iterable[Cell]) -> None:
        self.root = self.place = folder.absolute()
        self._table, self._judges = table, judges(table)
        self._wanted = {f"{training.name}/{seed}": self._fingerprint(training, seed) for training, seed in cells}

    def __call__(self, item: Cell, root: Path | None = None, patience_s: float = math.inf) -> None:
        """Train a cell; runs in a worker."""
        training, seed = item
        one_thread()
        try:
            if self._fingerprint(training, seed) != self._wanted[f"{training.name}/{seed}"]:
                raise ValueError(
                    f"{node()} has another embodkd, or other packages, than the machine that fills the table: install "
                    "the same there; or its files were edited since: begin again"
                )
            cells = Cells(self._table, seed, root or self.root)
            with held(cells.place(training), patience_s):
                # whoever held it before may have made it
                if cells.stored(training) is None:
                    cells.fill(training)
        except Exception as error:
            error.add_note(f"while training {training.name!r} with seed {seed}")
            raise

    def reads(self, item: Cell) -> list[Path]:
        """The products of all its teachers, theirs too, and of those of whoever measures it."""
        training, seed = item
        found: dict[Path, None] = {}

        def visit(one: Training) -> None:
            for teacher in one.teachers.values():
                visit(teacher)
                found[self._place(teacher, seed) / "product"] = None

        for one in _asked(self._judges, training):
            visit(one)
        return list(found)

    def leaves(self, item: Cell) -> list[Path]:
        """Its folder."""
        return [self._place(*item)]

    def on_gpu(self, item: Cell) -> bool:
        """Whether its trainer says so."""
        return item[0].trainer.get("device") == "cuda"

    def _place(self, training: Training, seed: int) -> Path:
        return Cells(self._table, seed, Path()).place(training)

    def _fingerprint(self, training: Training, seed: int) -> str:
        return fingerprint(training, seed, () if training.teaches else self._judges)


def _stop(name: str, error: Exception) -> None:
    """A cell that fails ends the filling: the others would fail alike."""
    if isinstance(error, BrokenExecutor):
        raise ValueError(
            f"{name}, or a cell beside it, was killed: is there enough memory? Call again to go on"
        ) from error
    raise error


def _result(table: Reproduction, cells: Mapping[int, Cells], arms: list[str]) -> dict[str, Any]:
    trainings: list[Training] = [*table.teachers.values(), *(table.arms[name].training for name in arms)]
    rows: dict[str, dict[int, Any]] = {training.name: {} for training in trainings}
    for seed, of_seed in cells.items():
        for training in trainings:
            row = of_seed.stored(training)
            if row is None:
                raise ValueError(f"{of_seed.place(training)}: was changed while the table was filled; run it again")
            rows[training.name][seed] = row
    commits = sorted({str(row["git_commit"]) for of_seed in rows.values() for row in of_seed.values()})
    facts = {k: v for k, v in manifest_of(None).items() if k not in ("policy", "weights_sha256")}
    manifest = {**facts, "hardware": hardware(), "threads": 1, "cells_git_commit": commits}
    origin = {"config": table.config(), "sources": sources_of(table)}
    return {**summarise(table, rows, list(cells), arms), "manifest": manifest, **origin}


def write(result: Mapping[str, Any], out: str | Path) -> Path:
    """Write a result as JSON, whole or not at all, each list of numbers and each model, data set, ... on one line."""
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, as_lines(result, ("model", "method", "data", "budget", "trainer", "corrupt")) + "\n")
    return out

"""Fill a table, here or in several processes side by side, and write what it comes to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

from embodkd.core.runs.files import write_atomic
from embodkd.core.runs.manifest import hardware
from embodkd.core.runs.memory import keep_freed_memory
from embodkd.core.runs.progress import progress
from embodkd.evaluation.manifest import manifest_of
from embodkd.evaluation.reproduce.cells import Cells, judges
from embodkd.evaluation.reproduce.file import arms_of, read
from embodkd.evaluation.reproduce.spec import Reproduction, Training
from embodkd.evaluation.reproduce.stale import sources_of
from embodkd.evaluation.reproduce.summary import summarise
from embodkd.evaluation.reproduce.training import untrained
from embodkd.evaluation.tables.order import in_order
from embodkd.evaluation.tables.rows import as_lines

Cell = tuple[Training, int]
"""A training with its seed."""


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

    seeds, arms: only these; jobs: cells side by side, each in a process with one thread; run: the folder of the cells,
    runs/reproduce/SLUG by default; trainer: settings of the Trainer that win over the file's. A cell is stored as soon
    as it is measured, and used again as long as its config, the sources that it runs and the versions stay the same.
    """
    table = read(file, trainer)
    chosen_seeds = list(table.seeds if seeds is None else seeds)
    chosen_arms = arms_of(table, arms)
    if jobs < 1 or not chosen_seeds or not chosen_arms:
        raise ValueError(f"seeds, arms and jobs: at least one of each, got {chosen_seeds}, {chosen_arms}, {jobs}")
    folder = Path(run or f"runs/reproduce/{table.slug}")
    one_thread()
    with ExitStack() as locks:
        cells = {seed: locks.enter_context(Cells(table, seed, folder)) for seed in chosen_seeds}
        todo = {f"{one.name}/{seed}": (one, seed) for seed in chosen_seeds for one in cells[seed].missing(chosen_arms)}
        # A mistake in the last arm must not show after hours: everything is built once before anything is trained.
        for training in {one.name: one for one, _ in todo.values()}.values():
            untrained(training, chosen_seeds[0])
        with progress(len(todo), f"reproduce {table.slug}", quiet=quiet) as bar, _workers(jobs) as pool:
            make = partial(_fill, table, folder)
            in_order(
                todo, partial(_after, judges(table)), make, pool, jobs, lambda name, _: bar.advance(1, done=name), _stop
            )
        result = _result(table, cells, chosen_arms)
    return result, set(chosen_arms) == set(table.arms) and set(chosen_seeds) >= set(table.seeds)


def _after(judged_by: Sequence[Training], cell: Cell) -> list[str]:
    """The cells that one needs: its teachers, and those of whoever measures it, which may be more."""
    training, seed = cell
    asked = [training] if training.teaches else [training, *judged_by]
    return [f"{teacher.name}/{seed}" for one in asked for teacher in one.teachers.values()]


def _fill(table: Reproduction, folder: Path, cell: Cell) -> None:
    """Train a cell; runs in a worker."""
    training, seed = cell
    try:
        Cells(table, seed, folder).fill(training)
    except Exception as error:
        error.add_note(f"while training {training.name!r} with seed {seed}")
        raise


def _stop(name: str, error: Exception) -> None:
    """A cell that fails ends the filling: the others would fail alike."""
    if isinstance(error, BrokenExecutor):
        raise ValueError(
            f"{name}, or a cell beside it, was killed: is there enough memory? Call again to go on"
        ) from error
    raise error


def one_thread() -> None:
    """Results depend on the number of threads: one, and memory that stays with the process."""
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()


def _start_worker() -> None:
    # A terminal sends it to all at once: the parent alone hears it, and asks the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would finish its cell, and then wait for ever."""
    parent = parent_process()
    assert parent is not None, "a worker was started by somebody"
    parent.join()
    os._exit(1)


@contextmanager
def _workers(jobs: int) -> Iterator[Executor]:
    if jobs == 1:
        yield _Here()
        return
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start_worker) as pool:
            try:
                yield pool
            except KeyboardInterrupt:
                # Whoever is asked to stop asks the workers, who leave at their next checkpoint.
                for worker in active_children():
                    worker.terminate()
                raise
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


class _Here(Executor):
    """Does everything at once, in this thread: another one would have a number of threads of its own."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


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

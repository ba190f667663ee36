"""Processes of this machine in which the cells of a table are trained, with one thread each."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any

from embodkd.core.runs.memory import keep_freed_memory


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
def workers(jobs: int) -> Iterator[Executor]:
    """A pool of as many processes; a single job is done in this one."""
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

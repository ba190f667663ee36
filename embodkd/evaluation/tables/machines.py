"""Where the cells of a table are made: in processes of this machine, or on a cluster of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

from embodkd.core.config.ranges import Within

Jobs = Annotated[int, Within(1, 256)] | str
"""How many cells side by side, or `ray` and where a cluster is: see `machines`."""


class Work(Protocol):
    """What is done with each item of a table, and what another machine needs to know to do it.

    root: the absolute folder that all paths below are relative to; place: one in which all items leave what they make.
    """

    root: Path
    place: Path

    def __call__(self, item: Any, root: Path | None = None, patience_s: float = math.inf) -> Any:
        """Do it, in `root` instead of the usual one; held.Busy where another process is at it for `patience_s`."""

    def reads(self, item: Any) -> Sequence[Path]:
        """Files and folders that it needs, relative to the root; what other items left."""

    def leaves(self, item: Any) -> Sequence[Path]:
        """Files and folders that it makes, relative to the root, in the order in which they may appear."""

    def on_gpu(self, item: Any) -> bool:
        """Whether it asks for a graphics card."""


@contextmanager
def machines(
    jobs: Jobs, here: Callable[[int], AbstractContextManager[Executor]]
) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """A pool whose `submit(work, item)` gives what `work(item)` returns, and a function that says how many at a time.

    jobs: a number makes the pool by `here`; "ray" starts a cluster of Ray on this machine's cores for the purpose;
    "ray:auto" and "ray:HOST:PORT" join the one that this machine is a part of, "ray://HOST:PORT" one that it is no part
    of. ValueError for another word or where no cluster answers; ImportError without Ray.
    """
    if isinstance(jobs, int):
        with here(jobs) as pool:
            yield pool, lambda: jobs
        return
    kind, _, address = jobs.partition(":")
    if kind != "ray" or jobs == "ray:":
        raise ValueError(f"jobs: {jobs!r} is neither a number nor ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT")
    from embodkd.evaluation.tables.cluster import cluster

    with cluster(jobs if address.startswith("//") else address or "local") as machines:
        yield machines, machines.width

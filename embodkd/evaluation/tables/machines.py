"""Where the cells of a table are made: in processes of this machine, or on a cluster of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated

from embodkd.core.config.ranges import Within

Jobs = Annotated[int, Within(1, 256)] | str
"""How many cells side by side, or `ray` and where a cluster is: see `machines`."""


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

"""Several ranks in one process, each a thread: what they tell each other goes through a list and a barrier."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from embodkd.core import ranks as core


class Meeting:
    def __init__(self, size: int) -> None:
        self.said: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=60)


@dataclass(frozen=True)
class Threaded(core.Ranks):
    meeting: Meeting = field(default=None, compare=False)  # type: ignore[assignment]

    def gather(self, value: Any) -> list[Any]:
        self.meeting.said[self.rank] = value
        self.meeting.barrier.wait()
        heard = list(self.meeting.said)
        self.meeting.barrier.wait()
        return heard

    def broadcast(self, value: Any) -> Any:
        return self.gather(value)[0]


def together(size: int, work: Callable[[int], Any]) -> list[Any]:
    """`work(rank)` on each of `size` ranks at once; what each returned. The first error of any is raised."""
    meeting, results, errors = Meeting(size), [None] * size, []

    def run(rank: int) -> None:
        core._as.set(Threaded(rank, size, meeting))
        try:
            results[rank] = work(rank)
        except BaseException as error:
            if not isinstance(error, threading.BrokenBarrierError):
                errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=contextvars.Context().run, args=(run, rank)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results

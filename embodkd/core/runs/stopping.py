"""A run that is asked to stop, by SIGINT or SIGTERM, puts down a checkpoint where it next may, and leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """This process was asked to end by signal `number`; the message says what became of its work."""

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.number = int(number)


class Stop:
    """Whether, and by which signal, a run was asked to stop."""

    number: int | None = None

    @property
    def asked(self) -> bool:
        """Whether it was."""
        return self.number is not None

    def leave(self, where: str) -> None:
        """Raise `Stopped`; call it when a checkpoint is written. where: the run, and how far it has come."""
        assert self.number is not None
        raise Stopped(f"{where}: stopped, its checkpoint is written; go on with resume=true", self.number)


@contextmanager
def stoppable(wanted: bool = True) -> Iterator[Stop]:
    """Inside, a first signal is only noted: look at `Stop.asked` wherever a checkpoint may be written, and `leave`.

    A second one raises `Stopped` at once. Outside the main thread, where no signal arrives, or where it is not
    `wanted`, nothing changes; neither does a signal that is ignored. What was noted within an inner one is not lost.
    """
    stop = Stop()

    def note(number: int, frame: Any) -> None:
        if stop.asked:
            raise Stopped("stopped at once; a training run goes on from its last checkpoint with resume=true", number)
        stop.number = number

    former = {}
    if wanted and threading.current_thread() is threading.main_thread():
        former = {n: signal.signal(n, note) for n in SIGNALS if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            # None: it was not Python that had set it
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if stop.asked:
        stop.leave("this run")

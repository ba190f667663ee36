"""A command that `torchrun` started several times: who carries it out, who speaks, what is said of a lost process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from embodkd.cli.errors import Refused, show
from embodkd.cli.verbs import Verb
from embodkd.core.ranks import is_loss_of_a_rank, join, may_report, ranks, without_launcher
from embodkd.core.runs.stopping import Stopped

LOST = 3


class Ended(BaseException):
    """The launcher ends this process, as it does when another one is gone."""


@contextmanager
def part_in(verb: Verb) -> Iterator[bool]:
    """Whether this process carries out `verb`; Refused where several may not.

    Ranks of a verb that shares its work meet here. Of any other the first one goes on as if it were alone.
    """
    own = ranks()
    if own.size == 1:
        yield True
    elif verb.refuses is not None:
        raise Refused(f"{verb.shown} does not run on {own.size} processes: {verb.refuses}; start it without torchrun")
    elif verb.shares is not None:
        join()
        yield True
    else:
        with without_launcher():
            yield own.is_first


@contextmanager
def one_voice() -> Iterator[None]:
    """Inside, ranks after the first are silent, and SIGTERM unwinds as SIGINT does.

    It is a `Stopped`, or an `Ended` where a launcher makes an end of one of several processes.
    """
    own = ranks()
    if threading.current_thread() is not threading.main_thread():
        yield  # called from a thread of another program, whose signals are its own
        return
    former = signal.signal(signal.SIGTERM, _terminate if own.size == 1 else _end)
    try:
        if own.is_first:
            yield
        else:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
    finally:
        signal.signal(signal.SIGTERM, former)


def explain(error: BaseException) -> int:
    """Say once, whichever ranks ask, why the command ends; the exit code."""
    if not may_report():
        return LOST if isinstance(error, Ended) or is_loss_of_a_rank(error) else 2
    if isinstance(error, Ended) or is_loss_of_a_rank(error):
        print(
            "embodkd: another process of this command is gone (killed, out of memory, its machine lost), or its "
            "launcher was stopped; a training run goes on from its last checkpoint with resume=true",
            file=sys.stderr,
            flush=True,
        )
        return LOST
    if isinstance(error, KeyboardInterrupt):
        said = str(error) or "interrupted; a training run goes on from its last checkpoint with resume=true"
        print(f"embodkd: {said}", file=sys.stderr, flush=True)
        return 128 + getattr(error, "number", signal.SIGINT)
    return show(error)


def _terminate(number: int, frame: Any) -> None:
    raise Stopped("ended; a training run goes on from its last checkpoint with resume=true", number)


def _end(number: int, frame: Any) -> None:
    raise Ended

"""Work that is ended at random instants, in processes made by fork: what this one has imported they need not."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Action = Callable[[], object]


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code (of a signal its negative number), the seconds it took, what it said."""

    code: int
    seconds: float
    said: str


def forked(action: Action, log: Path, after: float | None = None, by: int = signal.SIGKILL) -> End:
    """Call `action` in a process of its own, and send it signal `by` after so many seconds (None: leave it alone).

    The exit code is what it returns if that is a number, 0 for anything else, 1 for an error.
    """
    started = time.monotonic()
    child = begun(action, log)
    limit = time.monotonic() + 240
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if after is not None and time.monotonic() - started >= after:
            os.kill(child, by)
            after = None
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    return End(os.waitstatus_to_exitcode(ended[1]), time.monotonic() - started, log.read_text(errors="replace"))


def begun(action: Action, log: Path) -> int:
    """The process that calls `action`, which says what it has to say into `log`."""
    with warnings.catch_warnings():
        # Python 3.12 warns where there is another thread: none of ours holds a lock here
        warnings.simplefilter("ignore")
        child = os.fork()
    if not child:
        _carry_out(action, log)
    return child


def _carry_out(action: Action, log: Path) -> None:
    """Never returns: what this process inherited belongs to the other one."""
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = sys.stderr = open(handle, "w", buffering=1)  # noqa: SIM115 (until the end)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        answer = action()
        code = answer if isinstance(answer, int) else 0
    except KeyboardInterrupt as stopped:
        print(stopped)
        code = 128 + getattr(stopped, "number", signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended_until_done(
    first: Action, again: Action, log: Path, seconds: float, rng: np.random.Generator, kills: int, by: int
) -> int:
    """End `first`, and then `again`, at `kills` random instants of `seconds`, then let it end; how many ends hit it.

    AssertionError with what it said, where a process ends in any other way than done or by the signal.
    """
    hits, action = 0, first
    for after in rng.uniform(0.0, seconds, kills):
        end = forked(action, log, float(after), by)
        assert end.code in (0, -by, 128 + by), end.said
        hits += end.code != 0
        action = again
    end = forked(again, log)
    assert end.code == 0, end.said
    return hits

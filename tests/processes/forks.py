"""Several ranks made by fork: what this process has imported they need not.

What concerns the launcher itself, its restarts or what it says, is tried by launch.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import kills

from embodkd.core import ranks as core


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fork_ranks(folder: Path, action: Callable[[], object], processes: int = 2, limit_s: float = 150) -> tuple[int, str]:
    """Call `action` in `folder` as each of so many ranks: the first exit code that is not 0, what all said.

    None of them is left behind, whatever happens; who is not done after `limit_s` seconds is killed.
    """
    sizes = {"WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    meeting = {**sizes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}

    def act(rank: int) -> object:
        warnings.simplefilter("default")  # a warning is no error but where a test looks at it
        os.environ.update({name: str(value) for name, value in {**meeting, "RANK": rank, "LOCAL_RANK": rank}.items()})
        os.chdir(folder)
        try:
            return action()
        finally:
            core._leave()

    logs = [folder / f"said_{rank}.txt" for rank in range(processes)]
    working = [kills.begun(lambda rank=rank: act(rank), log) for rank, log in enumerate(logs)]
    code, limit = 0, time.monotonic() + limit_s
    try:
        while working:
            for child in list(working):
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    working.remove(child)
                    code = code or os.waitstatus_to_exitcode(status)
            if code or time.monotonic() > limit:
                break  # as torchrun ends the others
            time.sleep(0.01)
    finally:
        for child in working:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    said = "".join(log.read_text(errors="replace") for log in logs)
    return code or -signal.SIGKILL * bool(working), said

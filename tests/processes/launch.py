"""Starts programs by torchrun and leaves none of their processes behind, whatever happens."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil


class Launch:
    """A launcher at work; `end()` waits for it and gives its exit code and what it and its processes said."""

    def __init__(self, folder: Path, *words: str, processes: int, restarts: int) -> None:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command = [sys.executable, "-m", *launcher, f"--max-restarts={restarts}", *words]
        self.process = subprocess.Popen(command, cwd=folder, stdout=-1, stderr=-1, text=True)

    def end(self, seconds: float = 150) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err

    def workers(self) -> dict[int, psutil.Process]:
        """rank -> process, for those that have begun."""
        found = {}
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error, KeyError):
                    found[int(child.environ()["RANK"])] = child
        return found


@contextlib.contextmanager
def launch(folder: Path, *words: str, processes: int = 2, restarts: int = 0) -> Iterator[Launch]:
    """Inside, `words` run on so many processes; afterwards none of them does."""
    started = Launch(folder, *words, processes=processes, restarts=restarts)
    try:
        yield started
    finally:
        # Each has a session of its own, so the group of the launcher would not hold them.
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(started.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        started.process.kill()
        started.process.communicate()

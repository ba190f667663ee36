"""Ranks made by fork: what this process has imported they need not."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def ranked(work: Callable[[], Any], folder: Path, size: int = 2, seconds: float = 150) -> list[Any]:
    """What `work` gives on each of `size` ranks in `folder`, as JSON keeps it; an error with what a failed one said.

    None of them is left behind, whatever happens.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [_started(work, folder, rank, size, port) for rank in range(size)]
    limit, left = time.monotonic() + seconds, dict(enumerate(children))
    try:
        while left:
            assert time.monotonic() < limit, f"ranks {list(left)} still wait"
            for rank, child in list(left.items()):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    del left[rank]
                    assert status == 0, (folder / f"said_{rank}").read_text()[-4000:]
            time.sleep(0.01)
    finally:
        for child in left.values():
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return [json.loads((folder / f"answer_{rank}.json").read_text()) for rank in range(size)]


def _started(work: Callable[[], Any], folder: Path, rank: int, size: int, port: int) -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns where there is another thread: none of ours holds a lock here
        warnings.simplefilter("ignore")
        child = os.fork()
    if child:
        return child
    code = 1
    try:
        handle = os.open(folder / f"said_{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = sys.stderr = open(handle, "w", buffering=1)  # noqa: SIM115 (until the end)
        given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in given.items()}})
        os.chdir(folder)
        (folder / f"answer_{rank}.json").write_text(json.dumps(work()))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)

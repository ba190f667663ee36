"""A table whose process is killed leaves no process behind that goes on training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
TABLE = """slug: toy
data: {name: digits, train: 96, validation: 64}
student: {name: mlp, hidden: [8]}
budget: {epochs: 100000, batch_size: 16}
seeds: [0, 1]
arms:
  alone: {role: method, method: {name: supervised}}
"""


def children(pid: int) -> list[int]:
    said = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(word) for word in said]


def runs(pid: int) -> bool:
    """Whether there is such a process that is more than an entry nobody has asked for yet."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, by: signal.Signals, count_case) -> None:
    (tmp_path / "toy.yaml").write_text(TABLE)
    words = [sys.executable, "-m", "embodkd.cli", "reproduce", "toy.yaml", "jobs=2", "out=toy.json"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 120
        while len(list(tmp_path.glob("runs/**/metrics.jsonl"))) < 2:
            assert process.poll() is None and time.monotonic() < limit
            time.sleep(0.1)
        started = children(process.pid)
        os.kill(process.pid, by)
        count_case("kills of tables")
        process.wait()
    assert len(started) >= 2
    limit = time.monotonic() + 30
    while left := [pid for pid in started if runs(pid)]:
        assert time.monotonic() < limit, f"{left} still run"
        time.sleep(0.1)

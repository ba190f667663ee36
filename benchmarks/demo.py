"""What `embodkd demo` costs, whole and by its commands: CPU-seconds, and the wall's.

Each repetition is a process of its own: `python -m benchmarks.demo` prints one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from typing import Any

from benchmarks.measure import Line, cpu_seconds, median_interval

COMMAND = "python -m benchmarks demo"
REPEATS = 3


def lines() -> list[Line]:
    """Two lines; the commands' shares are their details."""
    taken = [_in_a_process() for _ in range(REPEATS)]
    phases = {name: [round(one[name][0], 2) for one in taken] for name in taken[0]}
    found = []
    for place, (clock, target) in enumerate((("CPU", 58.0), ("wall", 35.0))):
        value, interval = median_interval([sum(spent[place] for spent in one.values()) for one in taken])
        details = {"cpu_seconds": phases, "repeats": REPEATS, "threads": os.cpu_count()}
        found.append(Line(f"embodkd demo, {clock}", value, interval, f"{clock}-s", "<=", target, COMMAND, details))
    return found


def _in_a_process() -> dict[str, tuple[float, float]]:
    # as somebody who types it has it: without the one thread of the other subjects
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-m", "benchmarks.demo"]
    child = subprocess.run(command, capture_output=True, text=True, env=free)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{child.stderr}")
    return json.loads(child.stdout.splitlines()[-1])


def _demo() -> dict[str, Any]:
    """Command -> its CPU-seconds and seconds; what the process has spent before belongs to the first."""
    from embodkd.cli import main
    from embodkd.cli.compose import resolved
    from embodkd.cli.demo import commands

    _, config = resolved("demo")
    spent, cpu, wall = {}, 0.0, time.perf_counter()
    for words in commands(**{key: value for key, value in config.items() if key != "fresh"}):
        with redirect_stdout(sys.stderr):
            code = main(words)
        assert code == 0, words
        now = cpu_seconds(), time.perf_counter()
        spent[" ".join(words[:3])] = now[0] - cpu, now[1] - wall
        cpu, wall = now
    return spent


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(json.dumps(_demo()))

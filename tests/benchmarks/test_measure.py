"""A number that was measured on a busy machine says so."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measure import machine, used_by_others


def test_what_others_use_of_the_machine_is_seen() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert used_by_others(0.5) > 0.2
    finally:
        busy.kill()
        busy.wait()


def test_a_number_says_whether_others_were_at_work() -> None:
    assert machine([0.0, 0.1]) == "quiet"
    assert machine([0.1, 1.26]) == "busy: 1.3 cores"
    assert machine(None) == "not said", "numbers stored before"

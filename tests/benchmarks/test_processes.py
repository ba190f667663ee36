"""Two processes and one take turns at the same step, and the table says so."""

from __future__ import annotations

import pytest

from benchmarks import processes
from benchmarks.loop import Work

TINY = {"updates": 2, "batch": 4, "side": 8, "classes": 5, "repeats": 2}


@pytest.mark.faults
def test_three_lines_the_first_with_a_target() -> None:
    found = processes.lines(Work(**TINY, model="resnet20"), Work(**TINY, model="mlp"))
    assert [line.target for line in found] == [1.15, None, None]
    assert all(line.value > 0 and len(line.details["microseconds_per_item"]) == 2 for line in found)
    assert all(line.reached for line in found[1:])

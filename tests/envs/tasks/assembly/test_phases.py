"""Phases in words: an expert is seen to do one after the other, and whose part it is where there are several."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.tasks.assembly.phases import PHASES, phase
from play import played

ONE = ["grasp", "carry", "insert"]
PARTS = {
    "peg_assembly": ("",),
    "mug_rack": ("",),
    "one_leg_lite": ("",),
    "stack_lamp": (" bulb", " hood"),
    "round_table_lite": (" leg", " foot"),
}


@pytest.mark.parametrize("name", PARTS)
def test_an_expert_does_one_phase_after_the_other_with_one_part_after_the_other(name: str) -> None:
    task = make_task(name, 4, threads=1)
    said, codes = [], []

    def watch() -> None:
        said.append(task.phases())
        codes.append(phase(task))

    try:
        played(task, watch=watch)
    finally:
        task.close()
    expected = [word + part for part in PARTS[name] for word in ONE]
    for words in zip(*said, strict=True):
        told = [word for word, _ in groupby(word for word in words if word != "reach")]
        assert told == expected, told
    assert [[word.partition(" ")[0] for word in words] for words in said] == np.array(PHASES)[np.array(codes)].tolist()


def test_a_task_that_cannot_tell_says_nothing() -> None:
    task = make_task("peg_hole", 1)
    assert task.phases() is None
    task.close()

"""What every reproduction table must have so that its verdicts mean something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embodkd.evaluation.reproduce.file import read
from embodkd.evaluation.reproduce.stale import stale

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs/reproduce").glob("*.yaml"))
# a network that draws has nothing to learn from without its teacher
_ONLY_TAUGHT = {"disback"}
# a cell takes a minute and more, or its effect is far above the spread of seeds
_FEW_SEEDS = {
    "disback",
    "fastspeech2",
    "momentum_gs",
    "redi",
    "teacher_hacking",
    "teacher_intervention",
    "tinyclip",
    "tinyvit",
}
# as many texts of fewer prompts
_OTHER_DATA = {("teacher_hacking", "fifth")}
# their metric is a distance, a likelihood or a ratio
_NOT_IN_POINTS = {"disback", "fastspeech2", "momentum_gs", "teacher_hacking"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_method_stands_beside_the_student_alone_and_a_baseline_with_seeds_enough_to_say_no_gain(file: Path) -> None:
    table = read(file)
    roles = {"baseline", "method"} | (set() if file.stem in _ONLY_TAUGHT else {"student_alone"})
    assert roles <= {arm.role for arm in table.arms.values()}
    assert len(table.seeds) >= (3 if file.stem in _FEW_SEEDS else 10)
    if file.stem not in _NOT_IN_POINTS:
        # at ten seeds and a spread of a point between arms the interval is 0.7 points wide to either side
        assert table.margin >= 1.0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_stored_was_filled_by_the_file_as_it_is(file: Path) -> None:
    stored = json.loads((ROOT / "results" / f"{file.stem}.json").read_text())
    assert stale(stored, read(file)) is None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_method_and_what_it_is_held_against_have_the_same_budget_and_data(file: Path) -> None:
    """Who has another one is an arm without teacher, or says in its name how it differs."""
    table = read(file)
    whole = next(arm for arm in table.arms.values() if arm.role == "method").training
    for name, arm in table.arms.items():
        if arm.role != "student_alone" and not name.endswith("_long"):
            assert arm.training.budget == whole.budget, name
            assert arm.training.data == whole.data or (file.stem, name) in _OTHER_DATA, name

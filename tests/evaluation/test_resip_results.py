"""What the stored tables of ResiP claim: the card's fifth and sixth check, and that each row says how it was made."""

import shlex
from pathlib import Path

import pytest
from embodkd.envs.tasks.assembly.progress import CAUSES

from embodkd.cli.compose import resolved
from embodkd.cli.overrides import parse
from embodkd.cli.verbs import find
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.chains import read_chains
from embodkd.evaluation.interval import wilson
from embodkd.evaluation.tables.mark import changes

ROOT = Path(__file__).parents[2]
ROWS = [row for rows in read_json(ROOT / "results" / "resip.json")["tables"].values() for row in rows]
BY_CELL = {row["cell"]: row for row in ROWS}
TASKS = ("peg_assembly", "mug_rack", "one_leg_lite", "stack_lamp", "round_table_lite")
CELLS = read_chains(ROOT / "configs" / "systems" / "resip.yaml")


def beside(row, name):
    """The row of the same setting that is called so."""
    return BY_CELL[f"{row['cell'].rpartition('/')[0]}/{name}"]


def of(policy):
    """The rows of a policy that hold today."""
    return [row for row in ROWS if row["policy"] == policy and "stale" not in row]


@pytest.mark.parametrize("row", of("plain_resip"), ids=lambda row: row["cell"])
def test_by_a_steady_hands_demonstrations_every_residual_adds_at_least_25_points_to_its_base(row):
    base = beside(row, "plain_base")
    assert row["success_rate"] - base["success_rate"] >= 0.25
    assert 0.1 <= base["success_rate"] <= 0.6


@pytest.mark.parametrize("row", of("resip"), ids=lambda row: row["cell"])
def test_a_residual_is_better_than_its_base(row):
    assert row["success_rate"] > beside(row, "base")["success_rate"]


@pytest.mark.parametrize("row", of("plain_rl"), ids=lambda row: row["cell"])
def test_plain_reinforcement_learning_gets_nowhere_without_a_base(row):
    assert row["success_rate"] <= 0.05


@pytest.mark.parametrize("row", of("student_rl"), ids=lambda row: row["cell"])
def test_reinforcement_learning_on_pixels_stays_below_imitated_demonstrations(row):
    assert row["success_rate"] < beside(row, "student_demos")["success_rate"]


@pytest.mark.parametrize("row", of("student_rollouts"), ids=lambda row: row["cell"])
def test_recordings_of_the_residual_teach_more_than_demonstrations(row):
    assert row["success_rate"] - beside(row, "student_demos")["success_rate"] >= 0.05


@pytest.mark.parametrize("row", of("resip"), ids=lambda row: row["cell"])
def test_failures_of_the_main_rows_are_counted_by_part_and_cause(row):
    assert sum(row["failures"].values()) == row["episodes"] - row["successes"]
    assert all(name.endswith(CAUSES) for name in row["failures"])


def test_the_main_rows_of_all_tasks_hold_today():
    assert {row["task"] for row in of("resip")} == set(TASKS)


@pytest.mark.parametrize("row", [r for r in ROWS if "stale" not in r], ids=lambda row: row["cell"])
def test_a_row_that_is_not_stale_has_the_config_that_its_command_gives_now(row):
    _, config = resolved(CELLS[row["cell"]].said)
    assert not changes(row["mark"]["config"], {k: v for k, v in config.items() if k in row["mark"]["config"]})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["cell"])
def test_a_row_says_what_was_run_and_where(row):
    verb, words = find(shlex.split(row["command"])[1:])
    assert verb is not None
    parse(verb, words)
    assert "mark" in row or "no mark" in row["stale"]
    assert row["cell"] in CELLS and row["commit"] and row["manifest"]["versions"]["mujoco"]
    count = row["episodes"]
    assert f"episodes={count}" in row["command"] or count == 200
    assert row["success_rate"] == row["successes"] / count
    assert row["ci95"] == pytest.approx(wilson(row["successes"], count))

"""What the stored tables of ResiP claim: the card's fifth and sixth check, and that each row says how it was made."""

import shlex
from pathlib import Path

import pytest

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
CELLS = read_chains(ROOT / "configs" / "systems" / "resip.yaml")


def beside(row, name):
    """The row of the same setting that is called so."""
    return BY_CELL[f"{row['cell'].rpartition('/')[0]}/{name}"]


@pytest.mark.parametrize("row", [r for r in ROWS if r["policy"] == "resip"], ids=lambda row: row["cell"])
def test_every_residual_adds_at_least_25_points_to_its_base(row):
    base = beside(row, "base")
    assert row["success_rate"] - base["success_rate"] >= 0.25
    assert 0.1 <= base["success_rate"] <= 0.6


def test_plain_reinforcement_learning_gets_nowhere_without_a_base():
    rows = [row for row in ROWS if row["policy"] == "plain_rl"]
    assert rows and all(row["success_rate"] <= 0.05 for row in rows)


def test_the_residual_beats_one_that_corrects_whole_chunks():
    # ResiP-C learns by PPO, the residual of the table by TD3: by PPO too it is hardly better (`resip_ppo`)
    rows = [row for row in ROWS if row["policy"] == "resip_c"]
    assert rows and all(beside(row, "resip")["success_rate"] - row["success_rate"] >= 0.05 for row in rows)


def test_reinforcement_learning_on_pixels_stays_below_imitated_demonstrations():
    rows = [row for row in ROWS if row["policy"] == "student_rl"]
    assert rows and all(row["success_rate"] < beside(row, "student_demos")["success_rate"] for row in rows)


def test_recordings_of_the_residual_teach_more_than_demonstrations():
    rows = [row for row in ROWS if row["cell"].endswith("/student_plain_rollouts")]
    assert len({row["seed"] for row in rows}) >= 3
    assert all(row["success_rate"] - beside(row, "student_demos")["success_rate"] >= 0.05 for row in rows)


def test_some_row_of_each_command_of_the_main_chain_holds_today():
    holds = {row["policy"] for row in ROWS if "stale" not in row}
    assert {"base", "resip", "student", "student_demos"} <= holds


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
    assert row["episodes"] == 200 and row["success_rate"] == row["successes"] / 200
    assert row["ci95"] == pytest.approx(wilson(row["successes"], 200))

"""Signing stored results anew: only those that an edit of sources made stale, and only from the mark they had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.same_runs import commands
from benchmarks.same_signed import rests_on, same_but_sources, sign
from embodkd.cli.keys import options
from embodkd.core.runs.files import write_json
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.tables.mark import mark

ROOT = Path(__file__).parents[2]
COMMITS = ("a" * 40, "b" * 40)


def marks(sources: str, steps: int = 10) -> dict[str, Any]:
    demos = mark({"task": "peg"}, sources)
    return {"demos": demos, "base": mark({"steps": steps}, "own", {"demos": demos})}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        {
            "cell": "base",
            "mark": marks("old")["base"],
            "stale": "what it comes after changed: demos",
            "success_rate": 0.5,
        },
        {"cell": "demos", "mark": mark({"task": "peg"}, "older"), "stale": "other sources"},
        {"cell": "gone", "stale": "it has no mark"},
    ]
    shown = {"setting": [], "command": "embodkd evaluate", "success_rate": 0.5, "successes": 1, "episodes": 2}
    write_json(tmp_path / "toy.json", {"slug": "toy", "tables": {"main": [shown | row for row in rows]}})
    return tmp_path / "toy.json"


def test_a_row_of_the_old_mark_gets_the_new_one_and_says_so_and_no_other_does(file: Path) -> None:
    before = {row["cell"]: row for row in read_json(file)["tables"]["main"]}
    assert sign(file, marks("old"), marks("new"), COMMITS) == (1, 3)
    after = {row["cell"]: row for row in read_json(file)["tables"]["main"]}
    assert after["base"]["mark"] == marks("new")["base"] and "stale" not in after["base"]
    assert after["base"]["signed"]["equal"] == list(COMMITS) and after["base"]["success_rate"] == 0.5
    assert after["demos"] == before["demos"] and after["gone"] == before["gone"]
    assert sign(file, marks("old"), marks("new"), COMMITS) == (0, 3)


def test_a_row_whose_config_changed_too_is_not_signed(file: Path) -> None:
    assert sign(file, marks("old"), marks("new", steps=11), COMMITS) == (0, 3)


def test_a_change_far_up_the_chain_is_seen() -> None:
    assert same_but_sources("base", marks("old"), marks("new"))
    other = {**marks("new"), "demos": mark({"task": "mug"}, "new")}
    assert not same_but_sources("base", marks("old"), other)


def test_a_table_is_signed_when_its_config_is_what_filled_it(tmp_path: Path) -> None:
    file, config = tmp_path / "nd.json", {"seeds": [0]}
    write_json(file, {"slug": "nd", "arms": {}, "config": config, "sources": "old"})
    old, new = {"config": config, "sources": "old"}, {"config": config, "sources": "new"}
    assert sign(file, {**old, "sources": "older"}, new, COMMITS) == (0, 1)
    assert sign(file, old, {"config": {"seeds": [1]}, "sources": "new"}, COMMITS) == (0, 1)
    assert sign(file, old, new, COMMITS) == (1, 1) and read_json(file)["sources"] == "new"


def test_a_table_rests_on_the_runs_of_its_methods_and_a_system_on_all() -> None:
    runs = commands({"kd": "vision", "nkd": "vision", "mtard": "vision", "supervised": "vision"})
    arms = {"alone": {"method": {"name": "supervised"}}, "nkd": {"method": {"name": "nkd"}}}
    config = {"arms": arms, "teachers": {"large": {"method": None}}}
    assert rests_on({"config": config, "sources": "old"}, runs) == {"supervised", "nkd", "table", "teacher"}
    assert rests_on(marks("old"), runs) == set(runs)
    arms["wide"] = {"method": {"name": "nkd"}, "model": {"name": "resnet", "depths": [1]}}
    assert rests_on({"config": config, "sources": "old"}, runs) >= {"supervised", "nkd", "resnet_teacher"}


@pytest.mark.parametrize("slug", options("reproduce"))
def test_each_network_of_a_table_is_in_a_run_that_it_rests_on(slug: str) -> None:
    asked = read_json(ROOT / "results" / f"{slug}.json")["config"]
    used = {arm["model"]["name"] for arm in (*asked["arms"].values(), *asked["teachers"].values()) if arm["model"]}
    runs = commands({name: "vision" for name in options("method")})
    rested = rests_on({"config": asked, "sources": "now"}, runs)
    for network in used - {"mlp"}:
        assert any(f"model={network} " in runs[name] for name in rested), f"no run has a {network}"

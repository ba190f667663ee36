"""`embodkd methods`: every method with its facts and its status, and the page made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embodkd.cli.keys import folder
from embodkd.evaluation.reproduce import read
from embodkd.methods import method_names

ROOT = Path(__file__).parents[2]


def test_every_method_is_one_line_with_its_status(embodkd) -> None:
    lines = embodkd("methods").out.splitlines()
    assert [line.split()[0] for line in lines] == list(method_names())
    assert all(line.endswith("identities held") for line in lines), "there are no results in an empty folder"


def test_a_stored_table_shows_in_every_form(embodkd, tmp_path: Path) -> None:
    table = tmp_path / "results/nkd_uskd.json"
    table.parent.mkdir()
    plain = {"mean": 90.0, "ci95": [89.0, 91.0], "parameters": [1234, 1234]}
    arms = {
        "alone": {"role": "student_alone", "method": {"name": "supervised"}, **plain},
        "half": {"role": "ablation", "method": {"name": "nkd"}, **plain, "parameters": [10, 1000]},
        "nkd": {"role": "method", "method": {"name": "nkd"}, **plain},
    }
    compared = [
        {"arm": "nkd", "against": "alone", "mean": 1.0, "ci95": [0.5, 1.5], "verdict": "gain"},
        {"arm": "nkd", "against": "half", "mean": -1.0, "ci95": [-1.5, -0.5], "verdict": "loss"},
    ]
    checks = [{"claim": "it helps", "passed": True, "outcome": "holds"}]
    facts = {"title": "NKD", "metric": "accuracy", "margin": 0.5, "seeds": [0, 1], "teachers": {}}
    result = {"slug": "nkd_uskd", "arms": arms, "comparisons": compared, "checks": checks, **facts}
    config = read(folder() / "reproduce/nkd_uskd.yaml").config()
    table.write_text(json.dumps({**result, "config": {**config, "seeds": [0]}, "seeds": config["seeds"]}))
    said = "table stored, gain over alone, loss against half, 1 of 1 claims hold"
    assert next(line for line in embodkd("methods").out.splitlines() if line.startswith("nkd ")).endswith(said)
    facts = {fact["slug"]: fact for fact in json.loads(embodkd("methods", "--json").out)}
    assert facts["nkd"]["status"] == said and facts["nkd"]["verdicts"] == {"alone": "gain", "half": "loss"}
    assert {"domain", "family", "paper", "title", "keys", "table"} <= facts["nkd"].keys()
    assert facts["kd"]["status"] == "identities held"
    page = embodkd("methods", "--markdown").out
    row = next(line for line in page.splitlines() if line.startswith("| `nkd`"))
    assert "## nkd_uskd" in page and "- holds: it helps" in page and "**Stale**" not in page
    assert "| `half` | ablation | 10 to 1,000 | 90 (89 to 91) | -1 (-1.5 to -0.5), loss |" in page
    assert row.endswith(f"| `nkd_uskd` | {said} |") and "(https://arxiv.org/abs/2303.13005)" in row
    assert embodkd("methods", "show", "nkd").out.rstrip().endswith(said)


def test_a_table_that_another_config_filled_is_stale_in_the_list_and_on_the_page(embodkd, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    stored = json.loads((ROOT / "results/nkd_uskd.json").read_text())
    config = read(folder() / "reproduce/nkd_uskd.yaml").config()
    config["arms"]["nkd"]["method"]["temperature"] = 77.0
    (tmp_path / "results/nkd_uskd.json").write_text(json.dumps({**stored, "config": config}))
    row = {"setting": [], "command": "embodkd", "success_rate": 1.0, "successes": 1, "episodes": 1}
    rows = [{"cell": "a", "stale": "other sources", **row}, {"cell": "b", **row}]
    (tmp_path / "results/resip.json").write_text(json.dumps({"slug": "resip", "tables": {"main": rows}}))
    assert "stale table" in next(line for line in embodkd("methods").out.splitlines() if line.startswith("nkd "))
    page = embodkd("methods", "--markdown").out
    assert "**Stale**: filled by another config: " in page and "arms.nkd.method.temperature: gone" in page
    assert "2 rows, 1 of them stale (other sources)." in page


def test_a_method_is_shown_with_its_text_and_the_command_that_uses_it(embodkd) -> None:
    shown = embodkd("methods", "show", "kd").out
    assert "Hinton" in shown and "method=kd data=digits" in shown and "method.temperature=4.0" in shown
    assert "method=dagger teacher=" in embodkd("methods", "show", "dagger").out


@pytest.mark.parametrize("words", [["--json", "--markdown"], ["show", "kd", "--markdown"]], ids=" ".join)
def test_forms_that_exclude_each_other_are_refused(embodkd, words) -> None:
    assert embodkd("methods", *words).code == 2


def test_the_page_is_up_to_date(embodkd, monkeypatch) -> None:
    """If not: embodkd methods --markdown > docs/methods.md."""
    monkeypatch.chdir(ROOT)
    assert (ROOT / "docs/methods.md").read_text() == embodkd("methods", "--markdown").out

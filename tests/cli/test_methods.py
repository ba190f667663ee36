"""`embodkd methods`: every method with its facts and its status, and the page made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embodkd.methods import method_names

ROOT = Path(__file__).parents[2]


def test_every_method_is_one_line_with_its_status(embodkd) -> None:
    lines = embodkd("methods").out.splitlines()
    assert [line.split()[0] for line in lines] == list(method_names())
    assert all(line.endswith("identities held") for line in lines), "there are no results in an empty folder"


def test_a_stored_table_shows_in_every_form(embodkd, tmp_path: Path) -> None:
    table = tmp_path / "results/nkd_uskd.json"
    table.parent.mkdir()
    arms = {"alone": {"role": "student_alone", "method": {"name": "supervised"}}}
    arms["nkd"] = {"role": "method", "method": {"name": "nkd"}}
    compared = [{"arm": "nkd", "against": "alone", "verdict": "gain"}]
    checks = [{"passed": True}]
    table.write_text(json.dumps({"slug": "nkd_uskd", "arms": arms, "comparisons": compared, "checks": checks}))
    said = "table stored, gain over alone, 1 of 1 claims hold"
    assert next(line for line in embodkd("methods").out.splitlines() if line.startswith("nkd ")).endswith(said)
    facts = {fact["slug"]: fact for fact in json.loads(embodkd("methods", "--json").out)}
    assert facts["nkd"]["status"] == said and facts["nkd"]["verdicts"] == {"alone": "gain"}
    assert {"domain", "family", "paper", "title", "keys", "table"} <= facts["nkd"].keys()
    assert facts["kd"]["status"] == "identities held"
    row = next(line for line in embodkd("methods", "--markdown").out.splitlines() if line.startswith("| `nkd`"))
    assert row.endswith(f"| `nkd_uskd` | {said} |") and "(https://arxiv.org/abs/2303.13005)" in row
    assert embodkd("methods", "show", "nkd").out.rstrip().endswith(said)


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

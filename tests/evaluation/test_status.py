"""What stored tables say about a method."""

import json

from embodkd.evaluation.reproduce import write
from embodkd.evaluation.status import status_of, stored_systems, stored_tables

ONE_SEED = {"mean": 1.0, "ci95": None}


def stored(folder, slug, arms, verdicts, passed=()):
    """A small result. arms: name -> (role, method); verdicts: (arm, against) -> verdict."""
    result = {
        "slug": slug,
        "title": "a table",
        "metric": "accuracy",
        "margin": 0.5,
        "seeds": [0],
        "arms": {name: {"role": role, "method": {"name": method}, **ONE_SEED} for name, (role, method) in arms.items()},
        "teachers": {},
        "comparisons": [{"arm": a, "against": b, "verdict": said, **ONE_SEED} for (a, b), said in verdicts.items()],
        "checks": [{"claim": "it helps", "passed": one} for one in passed],
    }
    write(result, folder / f"{slug}.json")


ARMS = {
    "alone": ("student_alone", "supervised"),
    "kd": ("baseline", "kd"),
    "half": ("ablation", "nkd"),
    "light": ("method", "nkd"),
    "nkd": ("method", "nkd"),
}


def test_a_method_without_a_table_has_its_identities(tmp_path):
    assert status_of("nkd", stored_tables(tmp_path)) == {
        "status": "identities held",
        "table": None,
        "arm": None,
        "verdicts": {},
        "claims": None,
    }


def test_verdicts_are_those_of_the_arm_with_the_method_s_name_against_plain_arms(tmp_path):
    verdicts = {("light", "alone"): "loss", ("nkd", "alone"): "gain", ("nkd", "kd"): "no_gain", ("nkd", "half"): "loss"}
    stored(tmp_path, "nkd_uskd", ARMS, verdicts, passed=(True, False, True))
    found = status_of("nkd", stored_tables(tmp_path))
    # of ablations only those that it loses to
    assert found["verdicts"] == {"alone": "gain", "kd": "no_gain", "half": "loss"} and found["claims"] == [2, 3]
    said = "gain over alone, no gain over kd, loss against half, 2 of 3 claims hold"
    assert found["status"] == f"table stored, {said}"
    stale = [{**table, "stale": "filled by another config"} for table in stored_tables(tmp_path)]
    assert status_of("nkd", stale)["status"] == f"stale table, {said}"
    assert found["table"] == "nkd_uskd" and found["arm"] == "nkd"


def test_an_arm_of_another_name_counts_where_none_has_the_method_s(tmp_path):
    arms = {"alone": ("student_alone", "supervised"), "best": ("method", "nkd")}
    stored(tmp_path, "other", arms, {("best", "alone"): "undecided"})
    assert status_of("nkd", stored_tables(tmp_path))["status"].startswith("table stored, undecided against alone")


def test_the_method_s_own_table_goes_before_others(tmp_path):
    for slug in ("a", "b"):
        stored(tmp_path, slug, ARMS, {})
    tables = stored_tables(tmp_path)
    assert status_of("nkd", tables)["table"] == "a" and status_of("nkd", tables, "b")["table"] == "b"


def test_a_baseline_of_another_s_table_is_no_table_of_its_own(tmp_path):
    stored(tmp_path, "nkd_uskd", ARMS, {})
    assert status_of("kd", stored_tables(tmp_path))["table"] is None


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "learning.json").write_text(json.dumps({"teacher/0": {"success_rate": 1.0}}))
    (tmp_path / "list.json").write_text("[1]")
    system = {"slug": "resip", "tables": {}}
    (tmp_path / "resip.json").write_text(json.dumps(system))
    assert stored_systems(tmp_path) == [system]
    assert stored_tables(tmp_path) == [] and stored_tables(tmp_path / "nowhere") == []

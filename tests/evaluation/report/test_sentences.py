"""The sentences of a page are right whatever lies in the folder, and short."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from report_runs import a_run, a_study

from embodkd.evaluation.report.places import find_members
from embodkd.evaluation.report.sections import sections
from embodkd.evaluation.report.sentences import lead, seeds_note, verdicts

SECRET = {"proprio": False, "privileged": True}


def said(root: Path) -> str:
    [section] = sections(find_members(root).members)
    return unescape(re.sub(r"<[^>]*>", "", lead(section))).replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ({"teacher": SECRET}, "The teacher, which also reads privileged state, succeeds in 90 % of its episodes."),
        (
            {"teacher": {"privileged": True}},
            "The teacher, which reads privileged state, succeeds in 90 % of its episodes.",
        ),
        ({"teacher": {"proprio": False}}, "The teacher succeeds in 90 % of its episodes."),
        ({"student": {"eye": False}}, "The student reads only eye and succeeds in 90 % of its episodes."),
        (
            {"blind": {"proprio": False}},
            "The blind twin, trained alike without a camera, succeeds in 90 % of its episodes.",
        ),
        (
            {"teacher": SECRET, "student": {"proprio": False, "eye": False}},
            "The student reads only proprio and eye and succeeds in 90 % of its episodes; "
            "its teacher, which also reads privileged state, in 90 %.",
        ),
        (
            {"teacher": SECRET, "blind": {"proprio": False}},
            "The teacher, which also reads privileged state, succeeds in 90 % of its episodes; "
            "the blind twin, trained alike without a camera, in 90 %.",
        ),
        (
            {"teacher": SECRET, "student": {"eye": False}, "blind": {"proprio": False}},
            "The student reads only eye and succeeds in 90 % of its episodes; its teacher, which also reads "
            "privileged state, in 90 %; its blind twin, trained alike without a camera, in 90 %.",
        ),
        (
            {"one": {"eye": False}, "two": {"eye": False}},
            "one succeeds in 90 % of its episodes; two in 90 %.",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_sentence_fits_whoever_is_there(tmp_path: Path, runs: dict[str, dict[str, bool]], expected: str) -> None:
    for name, reads in runs.items():
        a_run(tmp_path / name, 90, reads=reads)
    if "student" not in runs and len(runs) == 1:
        assert said(tmp_path / next(iter(runs))) == expected, "a page of the run itself"
    assert said(tmp_path) == expected


def test_of_forty_runs_it_is_a_count_and_the_extremes_in_one_line(tmp_path: Path) -> None:
    for n in range(40):
        a_run(tmp_path / f"depth_cnn_peg_hole_run_{n}", 10 + 2 * n, points=2)
    assert said(tmp_path) == "40 runs succeed in 10 % (run_0) to 88 % (run_39) of their episodes."


def test_a_mean_over_seeds_says_so_and_settings_are_counted_apart_from_runs(tmp_path: Path) -> None:
    a_study(tmp_path / "one", {"seed=0": 90, "seed=1": 80, "seed=2": 70})
    assert said(tmp_path / "one") == "one succeeds in 80 % (mean over 3 seeds) of its episodes."
    runs = {f"rate={rate},seed={seed}": 10 * rate for rate in range(5) for seed in (0, 1)}
    a_study(tmp_path / "many", runs)
    assert said(tmp_path / "many") == (
        "5 settings of 10 runs succeed in 0 % (rate=0) to 40 % (rate=4) of their episodes."
    )


def test_nothing_judged_says_what_to_run(tmp_path: Path) -> None:
    a_run(tmp_path / "teacher", None)
    assert said(tmp_path) == "Not evaluated yet: run embodkd evaluate for success rates."


@pytest.mark.parametrize(("seeds", "these_only"), [(1, True), (2, True), (3, False)])
def test_with_fewer_than_three_seeds_it_speaks_of_these_runs_only(tmp_path: Path, seeds: int, these_only: bool) -> None:
    a_study(tmp_path / "s", {f"seed={n}": 50 + n for n in range(seeds)})
    [section] = sections(find_members(tmp_path / "s").members)
    assert ("these runs only" in seeds_note(section)) is these_only


def test_a_student_of_several_seeds_is_held_against_its_teacher_and_blind_twin_seed_by_seed(tmp_path: Path) -> None:
    for name, won in (("teacher", 90), ("student", 85), ("blind", 20)):
        a_study(tmp_path / name, {f"seed={n}": won + n for n in range(3)})
    [section] = sections(find_members(tmp_path).members)
    assert list(section.roles) == ["Teacher", "Student", "Blind twin"]
    found = {verdict["pair"]: verdict for verdict in verdicts(section)}
    better = found["Student against blind twin"]
    assert better["short"] == "better" and "+65.0 points" in better["rest"] and "3 paired seeds" in better["rest"]
    assert found["Student against teacher"]["short"] != "better"


def test_figures_of_other_episode_seeds_stand_together_and_are_not_compared(tmp_path: Path) -> None:
    a_run(tmp_path / "teacher", 90)
    a_run(tmp_path / "student", 80, seed=1)
    file = tmp_path / "student/evaluation.json"
    judged = json.loads(file.read_text())
    judged["protocol"]["seed"] = 1
    file.write_text(json.dumps(judged))
    [section] = sections(find_members(tmp_path).members)
    [verdict] = verdicts(section)
    assert verdict["short"] == "not comparable" and "seed: 1 and 0" in verdict["rest"]

"""What a page puts together: runs of one protocol in a section, seeds of one setting in a figure, nothing left out."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from report_runs import a_run, a_study

from embodkd.evaluation.report import write_report
from embodkd.evaluation.report.places import find_members
from embodkd.evaluation.report.sections import OTHER, Section, sections


def made(root: Path) -> list[Section]:
    return sections(find_members(root).members)


def page(root: Path) -> str:
    return unescape(write_report(root).read_text(encoding="utf-8")).replace("\u00a0", " ")


def parts(text: str) -> list[str]:
    """The page by its protocols."""
    return re.split(r'<article class="protocol"', text)[1:]


def test_two_tasks_in_one_folder_share_no_title_no_bars_and_no_sentence(tmp_path: Path) -> None:
    a_run(tmp_path / "mixed/pick", 0, task="pick_lift", episodes=50)
    a_run(tmp_path / "mixed/peg", 199, task="peg_hole", episodes=200)
    text = page(tmp_path / "mixed")
    assert "<h1>mixed</h1>" in text and "2 runs" in text and "2 protocols" in text
    peg, pick = parts(text)
    assert "Peg hole, low randomness</h2>" in peg and "200 episodes" in peg and "99.5 %" in peg
    assert "Pick lift, low randomness</h2>" in pick and "50 episodes" in pick and ">0 %<" in pick
    assert (
        "Pick lift" not in peg and "peg" not in pick.partition("In motion")[0].partition("How it was made")[0].lower()
    )


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ({"engine": "mujoco"}, {"engine": "bullet"}, ("engine bullet", "engine mujoco")),
        ({"episodes": 100}, {"episodes": 200}, ("episodes 100", "episodes 200")),
        ({"options": {"robot": "gripper"}}, {"options": {"robot": "panda"}}, ("robot gripper", "robot panda")),
        (
            {"options": {"randomness": "low"}},
            {"options": {"randomness": "high"}},
            ("high randomness", "low randomness"),
        ),
    ],
)
def test_what_tells_two_protocols_apart_is_in_their_titles(tmp_path: Path, one, other, told) -> None:  # type: ignore[no-untyped-def]
    a_run(tmp_path / "a", **one)
    a_run(tmp_path / "b", **other)
    titles = [section.title for section in made(tmp_path)]
    assert len(titles) == 2, titles
    assert all(said in title for said, title in zip(told, titles, strict=True)), titles


def test_seeds_of_a_study_are_one_setting_with_a_dot_for_each(tmp_path: Path) -> None:
    a_study(tmp_path / "runs/teacher_peg_hole", {"seed=0": 90, "seed=1": 95, "seed=2": 100})
    a_run(tmp_path / "runs/loose", 50)
    [section] = made(tmp_path / "runs")
    loose, study = section.settings
    assert (loose.label, len(loose.runs), study.label, len(study.runs)) == ("loose", 1, "teacher_peg_hole", 3)
    assert study.rate == pytest.approx(0.95) and study.rates == [("0", 0.90), ("1", 0.95), ("2", 1.0)]
    text = page(tmp_path / "runs")
    assert "mean over 3 seeds" in text and text.count('<i style="left:') == 3
    assert 'aria-label="teacher_peg_hole: 95 %' in text and "seed 1: 95 %" in text


def test_what_was_swept_beside_the_seed_makes_settings_with_only_that_in_their_labels(tmp_path: Path) -> None:
    runs = {f"student={name},seed={seed}": 50 + seed for name in ("depth_cnn", "blind") for seed in (0, 1, 2)}
    a_study(tmp_path / "study", runs)
    [section] = made(tmp_path / "study")
    assert {setting.label: len(setting.runs) for setting in section.settings} == {"Blind twin": 3, "depth_cnn": 3}


def test_seeds_judged_on_other_episodes_are_not_averaged(tmp_path: Path) -> None:
    a_study(tmp_path / "s", {"seed=0": 90, "seed=1": 80})
    file = tmp_path / "s/seed=1/evaluation.json"
    file.write_text(re.sub(r'"seed": (\d+)', lambda found: f'"seed": {int(found[1]) + 1000}', file.read_text()))
    [section] = made(tmp_path / "s")
    assert [setting.label for setting in section.settings] == ["seed=0", "seed=1"]


def test_a_seed_that_was_not_judged_is_counted_and_shown(tmp_path: Path) -> None:
    a_study(tmp_path / "s", {"seed=0": 90, "seed=1": 80, "seed=2": None})
    text = page(tmp_path / "s")
    assert "2 seeds of 3, the others not evaluated" in text and ", seed 2</h3>" in text


def test_nothing_in_the_folder_is_left_out_silently(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    a_study(root / "study", {"seed=0": 90, "seed=2": 80}, missing=("seed=10", "seed=1"))
    a_run(root / "study/copied_in", 10)
    a_run(root / "loose", None)
    a_run(root / "demo/deep/er", 30)
    (root / "empty").mkdir()
    (root / "beside").symlink_to(tmp_path)
    found = find_members(root)
    places = ["demo/deep/er", "loose", "study/copied_in", "study/seed=0", "study/seed=2"]
    assert [member.place for member in found.members] == places
    absent = [f"study: seed={n} was asked for and is not there" for n in (1, 10)]
    assert list(found.left_out) == ["beside: a link, which is not followed", "empty: no run is in it", *absent]
    text = page(root)
    assert all(said in text for said in (*found.left_out, "copied_in", "loose", "er"))


def test_runs_come_in_natural_order_and_teacher_student_and_blind_twin_first(tmp_path: Path) -> None:
    for name in ("x_run_10", "x_run_2", "x_run_1", "x_run_11"):
        a_run(tmp_path / "many" / name)
    for name in ("blind", "teacher", "ablation", "student"):
        a_run(tmp_path / "demo" / name)
    labels = [[setting.label for setting in made(tmp_path / name)[0].settings] for name in ("many", "demo")]
    assert labels == [["run_1", "run_2", "run_10", "run_11"], ["Teacher", "Student", "Blind twin", "ablation"]]


def test_every_setting_has_a_colour_of_its_own_until_there_are_too_many_then_the_best_have(tmp_path: Path) -> None:
    for n in range(9):
        a_run(tmp_path / f"run_{n}", 10 * n)
    [section] = made(tmp_path)
    coloured = [setting for setting in section.settings if setting.colour != OTHER]
    assert [setting.label for setting in coloured] == [f"run_{n}" for n in (4, 5, 6, 7, 8)]
    assert len({setting.colour for setting in coloured}) == 5


def test_a_run_that_was_not_judged_stands_by_its_task_and_else_apart(tmp_path: Path) -> None:
    a_run(tmp_path / "peg", 5)
    a_run(tmp_path / "unknown", None)
    assert [len(section.settings) for section in made(tmp_path)] == [2]
    a_run(tmp_path / "pick", 5, task="pick_lift")
    titles = [section.title for section in made(tmp_path)]
    assert titles == ["Peg hole, low randomness", "Pick lift, low randomness", "Not evaluated yet"]


def test_how_finely_cameras_see_sets_no_one_apart(tmp_path: Path) -> None:
    for name, size in (("teacher", 16), ("student", 64)):
        a_run(tmp_path / name, options={"image_size": size})
    assert len(made(tmp_path)) == 1

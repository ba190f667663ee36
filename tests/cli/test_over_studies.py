"""Every verb that takes a run takes a study: a folder of runs that `-m` made, as a whole, by index or by choice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from embodkd.cli.over_studies import new_study
from embodkd.cli.verbs import VERBS
from embodkd.core.runs.study import read_study

from .conftest import SMALL

TEACHERS = "runs/teacher_peg_hole"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of two teachers, their students, and two recordings."""
    from embodkd.cli import main

    folder, before = tmp_path_factory.mktemp("study"), Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "teacher", "-m", "seed=0,1", *SMALL["train teacher"], "quiet=true"]) == 0
        students = [f"teacher={TEACHERS}", "student=blind", *SMALL["distill student"], "quiet=true"]
        assert main(["distill", "student", *students]) == 0
        recorded = ["task=peg_assembly", "seed=0,1", *SMALL["record"], "quiet=true"]
        assert main(["record", "-m", *recorded]) == 0
        cloned = [
            "demos=runs/record_peg_assembly",
            "student=mlp_chunk",
            "method.allow_privileged=true",
            "run=runs/bases",
        ]
        assert main(["distill", "student", *cloned, *SMALL["distill student demos=..."], "quiet=true"]) == 0
        digits = ["data=digits", "seed=0,1", *SMALL["train teacher data=..."], "quiet=true"]
        assert main(["train", "teacher", "-m", *digits]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def at(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def test_a_sweep_is_a_study_named_by_what_its_runs_share_and_differ_in(at: Path) -> None:
    study = read_study(TEACHERS)
    assert [run.folder.name for run in study.runs] == ["seed=0", "seed=1"] and study.swept == ("seed",)
    assert {path.name for path in at.glob(f"{TEACHERS}/*")} == {".multirun", "multirun.yaml", "seed=0", "seed=1"}
    assert [run.seed for run in read_study("runs/record_peg_assembly").runs] == [0, 1]


def test_a_study_of_teachers_makes_a_student_of_each_with_its_seed(at: Path) -> None:
    study = read_study("runs/blind_peg_hole")
    assert [run.folder.name for run in study.runs] == ["seed=0", "seed=1"]
    for run in study.runs:
        config = yaml.safe_load((run.folder / "config.yaml").read_text())
        assert config["seed"] == run.seed and config["teacher"] == f"{TEACHERS}/seed={run.seed}"


def study_for(verb_key: str) -> str:
    """A study that a verb can take there."""
    if "data=" in verb_key:
        return "runs/teacher_digits"
    there = {"base": "runs/bases", **dict.fromkeys(("demos", "replay"), "runs/record_peg_assembly")}
    return there.get(verb_key.rpartition(" ")[2], TEACHERS)


# Verb and key -> the other words with which it takes a study there.
WORDS = {
    "train teacher init": [*SMALL["train teacher"], "run=runs/init", "quiet=true"],
    "train residual base": [*SMALL["train residual"], "run=runs/residuals", "quiet=true"],
    "distill student data=... teacher": [
        *SMALL["distill student data=..."],
        *("data=digits", "model.hidden=[4]", "method=kd", "run=runs/small", "quiet=true"),
    ],
    "distill student teacher": [*SMALL["distill student"], "student=blind", "run=runs/students", "quiet=true"],
    "distill student demos=... demos": [
        *SMALL["distill student demos=..."],
        "method.allow_privileged=true",
        "run=runs/cloned",
        "quiet=true",
    ],
    "record policy": [
        "episodes=1",
        "num_envs=2",
        "only_success=false",
        "torch_threads=1",
        "run=runs/shown",
        "quiet=true",
    ],
    "evaluate policy": [*SMALL["evaluate"], "quiet=true"],
    "evaluate replay=... replay": [*SMALL["evaluate"], "tries=1", "quiet=true"],
    "compare policy": [f"against={TEACHERS}"],
    "compare against": [f"policy={TEACHERS}"],
    "rollout policy": SMALL["rollout"],
    "rollout beside": [*SMALL["rollout"], "policy=runs/blind_peg_hole"],
    "export policy": SMALL["export"],
    "report run": [],
}
# A method with both, and recordings that were not learned from: they take studies where these do.
ALIKE = {"distill student demos=... teacher", "evaluate demos"}


def test_no_verb_that_takes_a_run_is_left_out() -> None:
    assert {f"{verb.shown} {key}" for verb in VERBS for key in verb.runs} == WORDS.keys() | ALIKE


@pytest.mark.parametrize("verb_key", WORDS)
def test_a_verb_takes_a_study(verb_key: str, embodkd, at: Path) -> None:
    words, key = verb_key.split()[:-1], verb_key.split()[-1]
    words = [word for word in words if "..." not in word]
    answer = embodkd(*words, f"{key}={study_for(verb_key)}", *WORDS[verb_key])
    assert answer.code == 0, answer.err
    folder = next((word[4:] for word in WORDS[verb_key] if word.startswith("run=")), None)
    if folder is not None:
        assert [run.seed for run in read_study(folder).runs] == [0, 1]


def test_a_run_of_a_study_is_named_by_index_or_by_choice(embodkd, at: Path) -> None:
    for name in ("1", "seed=1"):
        answer = embodkd("evaluate", f"{TEACHERS}/{name}", "episodes=2", "torch_threads=1", "out=one.json")
        assert answer.code == 0 and f"{TEACHERS}/seed=1" in answer.out
        assert json.loads((at / "one.json").read_text())["manifest"]["policy"] == f"{TEACHERS}/seed=1/policy"
    answer = embodkd("evaluate", f"{TEACHERS}/seed=7", "episodes=2")
    assert answer.code == 2 and "seed=0, seed=1" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ["report", f"{TEACHERS}/seed=0"],
        ["report", f"{TEACHERS}/1"],
        ["compare", f"policy={TEACHERS}/seed=0", f"against={TEACHERS}/1"],
        ["compare", f"policy={TEACHERS}", f"against={TEACHERS}/seed=1/evaluation.json"],
        [
            *("distill", "student", "demos=runs/record_peg_assembly/seed=0", "method.allow_privileged=true"),
            *("run=runs/of_one", "quiet=true", *SMALL["distill student demos=..."]),
        ],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_path_with_an_equal_sign_is_a_path(embodkd, at: Path, words: list[str]) -> None:
    answer = embodkd(*words)
    assert answer.code == 0, answer.err


def test_seeds_are_put_together_in_what_evaluate_says(embodkd, at: Path) -> None:
    answer = embodkd("evaluate", TEACHERS, *SMALL["evaluate"], "quiet=true")
    assert answer.code == 0 and f"{TEACHERS}: " in answer.out and "over 2 seeds" in answer.out
    assert "these runs only" in answer.out


def test_replays_of_a_study_are_put_together_too(embodkd, at: Path) -> None:
    answer = embodkd("evaluate", "replay=runs/record_peg_assembly", *SMALL["evaluate"], "tries=1", "quiet=true")
    assert answer.code == 0 and "over 2 seeds" in answer.out
    assert all((run.folder / "replay.json").is_file() for run in read_study("runs/record_peg_assembly").runs)


def test_recordings_of_a_study_are_poured_together_where_a_list_asks_for_it(embodkd, at: Path) -> None:
    words = [*SMALL["distill student demos=..."], "method.allow_privileged=true", "quiet=true", "run=runs/poured"]
    assert embodkd("distill", "student", "demos=[runs/record_peg_assembly]", *words).code == 0
    lineage = json.loads((at / "runs/poured/policy/config.json").read_text())["lineage"]
    assert [Path(one["dataset"]).parent.name for one in lineage["demos"]] == ["seed=0", "seed=1"]


def test_a_run_that_fails_is_named_at_the_end_and_the_others_are_kept(embodkd, at: Path) -> None:
    (at / "runs/half/seed=0").mkdir(parents=True)
    (at / "runs/half/seed=0/notes.txt").write_text("mine")
    words = [f"teacher={TEACHERS}", "student=blind", *SMALL["distill student"], "run=runs/half", "quiet=true"]
    answer = embodkd("distill", "student", *words)
    assert answer.code == 1 and "1 of 2 runs failed: seed=0" in answer.err and "already holds notes.txt" in answer.err
    assert [run.folder.name for run in read_study("runs/half").runs] == ["seed=1"]
    (at / "runs/half/seed=0/notes.txt").unlink()
    assert embodkd("distill", "student", *words, "resume=true").code == 0
    study = read_study("runs/half")
    assert [run.folder.name for run in study.runs] == ["seed=0", "seed=1"] and study.swept == ("seed",)


def test_a_sweep_that_comes_to_nothing_leaves_nothing(embodkd, at: Path) -> None:
    answer = embodkd("distill", "student", "-m", "seed=0,1", "teacher=nowhere", "run=runs/none/at/all")
    assert answer.code == 1 and not (at / "runs/none").exists()


def test_a_study_is_not_made_in_a_run_nor_of_other_keys(embodkd, at: Path) -> None:
    words = [f"teacher={TEACHERS}/0", *SMALL["distill student"], "quiet=true"]
    answer = embodkd("distill", "student", "-m", "seed=0,1", f"run={TEACHERS}/seed=0", *words)
    assert answer.code == 2 and "single run" in answer.err
    answer = embodkd("distill", "student", "-m", "student=blind,mlp", "run=runs/blind_peg_hole", *words)
    assert answer.code == 2 and "differ in seed, those asked for in student" in answer.err


def test_one_place_for_the_results_of_several_runs_is_refused(embodkd, at: Path) -> None:
    for verb in ("evaluate", "export", "rollout"):
        answer = embodkd(verb, TEACHERS, "out=one.json")
        assert answer.code == 2 and "out=one.json" in answer.err and not (at / "one.json").is_dir()


def test_a_sweep_that_ends_leaves_what_another_one_is_about_to_begin(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    with new_study(folder, {"seed": "0"}) as own:
        for name in ("seed=0", "seed=1"):
            (folder / ".multirun" / name).mkdir(parents=True)
        own.append("seed=0")
    assert [path.name for path in (folder / ".multirun").iterdir()] == ["seed=1"]

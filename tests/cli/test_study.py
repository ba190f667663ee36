"""`embodkd study`: a file of arms becomes trainings, a verdict and a page; what is finished is not made again."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from embodkd.cli.keys import options
from embodkd.cli.study import check_words, study_file
from embodkd.core.runs.study import read_study
from embodkd.evaluation.trial import cells_of, read_trial

TINY = {
    "title": "Does it need eyes?",
    "teacher": {"task": "peg_hole", "steps": 1024, "ppo.num_envs": 32, "ppo.minibatch": 256, "evaluate_episodes": 4},
    "student": {"num_envs": 4, "method.rounds": 1, "method.steps": 6},
    "arms": {"eyes": {"student": "depth_cnn"}, "none": {"student": "blind"}},
    "against": "none",
    "seeds": [0, 1],
    "episodes": 4,
}


def write(folder: Path, **changes: object) -> str:
    (folder / "eyes.yaml").write_text(yaml.safe_dump({**TINY, **changes}))
    return "eyes.yaml"


@pytest.mark.parametrize("name", options("studies"))
def test_what_came_along_says_only_keys_that_the_commands_have(name: str) -> None:
    cells = cells_of(read_trial(study_file(name)), name, Path("runs", name))
    check_words(cells)
    assert {cell.run.name for cell in cells.values()} == {"seed=0", "seed=1", "seed=2"}


@pytest.mark.slow
def test_a_study_ends_in_a_verdict_and_a_page_and_more_seeds_join_what_is_there(embodkd, tmp_path: Path) -> None:
    file = write(tmp_path)
    answer = embodkd("study", file, "jobs=2", "seeds=0")
    assert answer.code == 0, answer.err
    assert "eyes against none: " in answer.out and "Holm" in answer.out and "these runs only" in answer.out
    page = (tmp_path / "runs/eyes/report.html").read_text()
    assert TINY["title"] in page and "Verdicts" in page and "toprule" in page
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/eyes/*/seed=*/policy/model.safetensors")}
    assert len(weights) == 3
    more = embodkd("study", file, "jobs=2")
    assert more.code == 0 and "2 paired seeds" in more.out
    assert [run.seed for run in read_study(tmp_path / "runs/eyes/none").runs] == [0, 1]
    assert {path: path.stat().st_mtime_ns for path in weights} == weights


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"against": "non"}, "'none'"),
        ({"arms": {"eyes": {"studnt": "depth_cnn"}, "none": {"student": "blind"}}}, "'student'"),
        ({"seeds": [0, 0]}, "seeds"),
        ({"sead": [0]}, "'seeds'"),
        ({"arms": {"none": {"student": "blind"}}}, "two at least"),
        ({"arms": {"teacher": {"student": "blind"}, "none": {}}}, "call the arm something else"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_before_anything_is_trained(embodkd, tmp_path, changes, said) -> None:
    answer = embodkd("study", write(tmp_path, **changes))
    assert answer.code == 2 and said in answer.err and not (tmp_path / "runs").exists()


def test_studies_are_listed_and_a_wrong_name_has_a_near_one(embodkd) -> None:
    listed = embodkd("study").out
    assert all(f"{name} " in listed for name in options("studies"))
    assert "'sensors'" in embodkd("study", "sensor").err


def test_an_arm_may_have_a_teacher_of_its_own(tmp_path: Path) -> None:
    arms = {"wide": {"teacher": {"network.hidden": [64, 64]}}, "usual": {}}
    cells = cells_of(read_trial(tmp_path / write(tmp_path, arms=arms, against="usual")), "eyes", Path("runs/eyes"))
    assert "network.hidden=[64,64]" in cells["teacher_wide/seed=0"].command
    assert "teacher=runs/eyes/teacher_wide/seed=0" in cells["wide/seed=0"].command
    assert "teacher=runs/eyes/teacher/seed=0" in cells["usual/seed=0"].command

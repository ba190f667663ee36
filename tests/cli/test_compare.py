"""`embodkd compare` takes what is stored where that is of the same episodes and weights, and judges the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

STUDENT, TEACHER = "runs/depth_cnn_peg_hole", "runs/teacher_peg_hole"
WORDS = [f"policy={STUDENT}", f"against={TEACHER}", "torch_threads=1", "quiet=true"]


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """Runs of its own: these tests judge them anew."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def judged_anew(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(policy, episodes) of each judgement from now on."""
    import embodkd.evaluation
    from embodkd.evaluation.judge import evaluate

    found = []

    def noted(*arguments, **words):
        found.append((str(words["policy_folder"]).removesuffix("/policy"), words["episodes"]))
        return evaluate(*arguments, **words)

    monkeypatch.setattr(embodkd.evaluation, "evaluate", noted, raising=False)
    return found


def test_runs_that_are_judged_are_not_judged_again(embodkd, here: Path, judged_anew: list) -> None:
    answer = embodkd("compare", *WORDS)
    assert answer.code == 0 and answer.out.count("(stored)") == 2 and "on 4 shared episodes" in answer.out
    assert judged_anew == []


def test_the_shorter_of_two_is_judged_on_as_many_episodes_as_the_longer(embodkd, here: Path, judged_anew) -> None:
    assert embodkd("evaluate", STUDENT, "episodes=6", "torch_threads=1", "quiet=true").code == 0
    judged_anew.clear()
    answer = embodkd("compare", *WORDS)
    assert answer.code == 0 and "on 6 shared episodes" in answer.out and judged_anew == [(TEACHER, 6)]


def test_episodes_that_are_asked_for_are_run(embodkd, here: Path, judged_anew: list) -> None:
    answer = embodkd("compare", *WORDS, "episodes=5")
    assert answer.code == 0 and "(stored)" not in answer.out and sorted(judged_anew) == [(STUDENT, 5), (TEACHER, 5)]


@pytest.mark.parametrize("damage", ["weights", "world"])
def test_what_is_stored_of_other_weights_or_of_another_world_is_not_taken(
    embodkd, here: Path, judged_anew: list, damage: str
) -> None:
    shutil.copytree(here / STUDENT, here / "runs/other")
    file = here / "runs/other/evaluation.json"
    stored = json.loads(file.read_text())
    if damage == "weights":
        stored["manifest"]["weights_sha256"] = "0" * 64
    else:
        stored["protocol"]["options"]["randomness"] = "high"
    file.write_text(json.dumps(stored))
    answer = embodkd("compare", "policy=runs/other", *WORDS[1:])
    assert answer.code == 0 and judged_anew == [("runs/other", 4)]


def test_a_file_says_how_many_episodes_the_other_is_judged_on(embodkd, here: Path, judged_anew: list) -> None:
    answer = embodkd("evaluate", TEACHER, "episodes=3", "out=three.json", "torch_threads=1", "quiet=true")
    assert answer.code == 0
    judged_anew.clear()
    answer = embodkd("compare", WORDS[0], "against=three.json", *WORDS[2:], "episodes=3")
    assert answer.code == 0 and judged_anew == [(STUDENT, 3)]

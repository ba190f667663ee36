"""`embodkd evaluate replay=...`: from a dataset to the floor of its task."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import so101

pytest.importorskip("pyarrow", reason="needs pyarrow (extra: lerobot)")
TINY = ["episodes=3", "tries=2", "copies=4", "torch_threads=1", "quiet=true"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with two demonstrations of the expert, at medium randomness."""
    from embodkd.cli import main

    run = tmp_path_factory.mktemp("recorded") / "run"
    words = ["task=peg_assembly", "task.randomness=medium", "episodes=2", "num_envs=4", "groups=[proprio]"]
    assert main(["record", *words, "torch_threads=1", "quiet=true", f"run={run}"]) == 0
    return run


@pytest.fixture
def run(recorded: Path, tmp_path: Path) -> Path:
    shutil.copytree(recorded, tmp_path / "run")
    (tmp_path / "run/evaluation.json").write_text("a policy's")
    return tmp_path / "run"


def test_the_floor_lies_beside_the_recordings_in_their_own_world(embodkd, run: Path) -> None:
    answer = embodkd("evaluate", "replay=run", *TINY)
    assert answer.code == 0, answer.err
    found = json.loads((run / "replay.json").read_text())
    assert found["protocol"]["options"]["randomness"] == "medium" and found["episodes"] == 3
    assert [episode["seed"] for episode in found["per_episode"]] == [0, 1, 2]
    winner = found["manifest"]["replay"]
    assert winner["demos"] == "run/demos" and winner["recordings"] == 2 and winner["of"] == 2
    assert f"episode {winner['episode']}, the best of 2: {winner['successes']} of 2" in answer.out
    assert found["manifest"]["beware"] == [] and (run / "evaluation.json").read_text() == "a policy's"


def test_other_randomness_other_seeds_and_other_files_have_places_of_their_own(embodkd, run: Path) -> None:
    low = ["task=peg_assembly", "task.randomness=low"]
    assert embodkd("evaluate", "replay=run/demos", *low, "seed=3", *TINY).code == 0
    found = json.loads((run / "replay_randomness-low_seed_3.json").read_text())
    assert found["protocol"]["options"]["randomness"] == "low" and found["per_episode"][0]["seed"] == 3 * 2**32
    assert found["manifest"]["replay"]["recorded_in"]["options"]["randomness"] == "medium"
    assert embodkd("evaluate", "replay=run", "out=floor.json", *TINY).code == 0
    assert (run.parent / "floor.json").is_file() and not (run / "replay.json").exists()


def test_another_task_is_asked_for_aloud_and_said(embodkd, run: Path) -> None:
    words = ["replay=run", "task=mug_rack", *TINY]
    refused = embodkd("evaluate", *words)
    assert refused.code == 2 and "another world (task: peg_assembly, here mug_rack)" in refused.err
    assert embodkd("evaluate", *words, "transfer=true").code == 0
    (file,) = run.glob("replay_mug_rack*.json")
    (said,) = json.loads(file.read_text())["manifest"]["beware"]
    assert "peg_assembly, here mug_rack" in said


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["replay=nowhere"], ["nowhere", "no LeRobot dataset"]),
        (["replay=run", "task=peg_hole", "transfer=true"], ["recordings of 10 actions", "'peg_hole' needs 6"]),
        (["replay=arm"], ["recorded in no simulator", "transfer=true"]),
        (["replay=arm", "task=peg_assembly", "transfer=true"], ["its actions reach", "[-1, 1]"]),
        (["replay=run", "policy=run"], ["'policy' does not go with replay=..."]),
        (["replay=run", "ablate=true"], ["'ablate' does not go with replay=..."]),
        (["replay=run", "tries=0"], ["tries"]),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(embodkd, run: Path, words: list[str], parts: list[str]) -> None:
    so101.write(run.parent / "arm", "none", (10, 13))
    given = {word.partition("=")[0] for word in words}
    answer = embodkd("evaluate", *words, *(word for word in TINY if word.partition("=")[0] not in given))
    assert answer.code == 2 and all(part in answer.err for part in parts), answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not list(run.glob("replay*.json"))

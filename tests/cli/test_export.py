"""`embodkd export`: checked against what evaluation runs, whoever made the policy, and kept only if it is the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.policies import make_policy, save_policy

import embodkd.evaluation.export.policy as exports


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """The working folder of `embodkd(...)`, with the runs in it."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path


@pytest.mark.parametrize(("run", "format"), [("teacher_peg_hole", "torch"), ("depth_cnn_peg_hole", "onnx")])
def test_a_file_is_checked_on_recorded_steps_and_on_episodes_of_its_own(
    embodkd, here: Path, small, run: str, format: str
) -> None:
    answer = embodkd("export", f"policy=runs/{run}", f"format={format}", "out=out.bin", *small["export"])
    assert answer.code == 0, answer.err
    # Of 40 steps each: the episode that the run's folder carries, and one of now.
    assert "acts like the policy within" in answer.out and "on 80 recorded steps" in answer.out
    assert "of 2 episodes, the policy in" in answer.out and (here / "out.bin").stat().st_size > 1000


def test_an_onnx_file_carries_its_contract(embodkd, here: Path) -> None:
    import onnx

    assert embodkd("export", "runs/depth_cnn_peg_hole", "out=student.onnx", "episodes=0").code == 0
    model = onnx.load(here / "student.onnx")
    [facts] = [json.loads(p.value) for p in model.metadata_props if p.key == "embodkd"]
    assert [i.name for i in model.graph.input] == list(facts["inputs"])
    assert all(not i["privileged"] and i["unit"] for i in facts["inputs"].values())
    assert facts["control_hz"] == pytest.approx(1 / 0.048) and set(facts["action"]["low"]) == {-1.0}


def test_an_export_that_acts_differently_is_not_kept(embodkd, here: Path, monkeypatch) -> None:
    (here / "bad.pt2").write_text("what was there before")
    monkeypatch.setattr(exports, "parity", lambda *_: 0.5)
    answer = embodkd("export", "runs/teacher_peg_hole", "format=torch", "out=bad.pt2", "episodes=0")
    assert answer.code == 2 and "acts differently from the policy by 0.5 of a normalised action" in answer.err
    assert [path.name for path in here.iterdir() if path.is_file()] == ["bad.pt2"]
    assert (here / "bad.pt2").read_text() == "what was there before"


def test_a_policy_without_a_simulator_is_checked_on_the_episode_that_it_carries_or_not_written(
    embodkd, here: Path
) -> None:
    task = make_task("peg_hole", 1, threads=1)
    policy = make_policy("mlp", task.spec.groups, task.spec.action_size, hidden=(8,))
    task.close()
    seen = {name: np.zeros((5, *group.shape), np.float32) for name, group in policy.inputs.items()}
    for episode in (None, seen):
        save_policy(here / "runs/arm/policy", policy, task={"name": "arm", "engine": None}, episode=episode)
        answer = embodkd("export", "runs/arm", "format=torch")
        assert answer.code == (2 if episode is None else 0), answer.err
        assert (here / "runs/arm/policy.pt2").exists() == (episode is not None)
        assert ("no recorded episode" in answer.err) == (episode is None)
    assert "on 5 recorded steps" in answer.out


def test_a_policy_of_another_version_of_its_task_is_exported_aloud(embodkd, here: Path) -> None:
    config = here / "runs/teacher_peg_hole/policy/config.json"
    stored = json.loads(config.read_text())
    config.write_text(json.dumps({**stored, "task": {**stored["task"], "version": stored["task"]["version"] - 1}}))
    words = ["export", "runs/teacher_peg_hole", "format=torch", "episodes=0"]
    assert embodkd(*words).code == 2
    answer = embodkd(*words, "transfer=true")
    assert answer.code == 0 and "beware: transfer to another world" in answer.out


def test_a_classifier_is_checked_on_the_items_that_its_folder_carries(embodkd, here: Path, small) -> None:
    words = ["data=digits", "data.train=65", "data.validation=50", "model.hidden=[4]", "run=runs/digits", "quiet=true"]
    assert embodkd("train", "teacher", *words, *small["train teacher data=..."]).code == 0
    for format, name in (("onnx", "model.onnx"), ("torch", "model.pt2")):
        answer = embodkd("export", "runs/digits", f"format={format}")
        assert answer.code == 0, answer.err
        assert "answers like the model within" in answer.out and "on 16 items" in answer.out
        assert (here / "runs/digits" / name).exists()
    assert embodkd("export", "runs/digits", "task=peg_hole").code == 2
    (here / "runs/digits/model/examples.safetensors").unlink()
    assert "on 16 items" in embodkd("export", "runs/digits", "format=torch").out, "an earlier folder asks its data"

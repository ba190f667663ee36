"""A run does not go on with a teacher, a base or a start that took the place of the one it began with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from embodkd.envs import make_task
from embodkd.policies import make_policy, save_policy, task_record
from furnish import furnished
from safetensors.torch import load_file

from embodkd.cli.inputs import FILE, check_inputs
from embodkd.models import make_model, save_model

QUICK = ["torch_threads=1", "quiet=true"]
DIGITS = ["data=digits", "data.train=40", "data.validation=20", "budget.updates=2", "model=mlp", "model.hidden=[8]"]
PPO = ["task=peg_hole", "steps=16", "ppo.num_envs=4", "ppo.n_steps=4", "ppo.minibatch=16", "evaluate_episodes=1"]
DAGGER = ["student=mlp", "num_envs=2", "method.rounds=1", "method.steps=2", "method.epochs=1", "episodes=0"]
# what is begun with -> the command, and the folder that somebody replaces
RUNS = {
    "a classifier": (["distill", "student", *DIGITS, "method=kd", "teacher=runs/c"], "teacher", "runs/c/model"),
    "a teacher": (["distill", "student", *DAGGER, "teacher=runs/expert"], "teacher", "runs/expert/policy"),
    "a start": (["train", "teacher", *PPO, "episodes=0", "init=runs/expert"], "init", "runs/expert/policy"),
}  # fmt: skip


def replace(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    if folder.name == "model":
        save_model(folder, make_model("mlp", (1, 8, 8), 10, hidden=[8]), lineage={"method": "none"})
        return
    world = make_task("peg_hole", 1)
    try:
        policy = make_policy("mlp", world.spec.groups, world.spec.action_size, hidden=(8,))
        save_policy(folder, policy, task=task_record(world.spec))
    finally:
        world.close()


@pytest.mark.parametrize("what", RUNS)
def test_what_took_the_place_of_a_folder_is_refused_by_name_and_loses_nothing(
    what: str, embodkd, tmp_path: Path
) -> None:
    furnished(tmp_path)
    words, key, name = RUNS[what]
    words, folder = [*words, *QUICK, "run=runs/x"], tmp_path / name
    replace(folder, 1)
    assert embodkd(*words).code == 0
    (product,) = [p for p in (tmp_path / "runs/x").glob("*/model.safetensors") if p.parent.name in ("model", "policy")]
    before, kept = load_file(product), shutil.copytree(folder, tmp_path / "kept")
    replace(folder, 2)
    answer = embodkd(*words, "resume=true")
    assert answer.code == 2 and f"runs/x: began with other files in {key}={name} than are there now" in answer.err
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)
    for aside in ("README.md", "evaluation.json", "policy.onnx"):
        (folder / aside).write_text("{}")
    assert embodkd(*words, "resume=true").code == 0
    after = load_file(product)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_a_former_version_did_not_note_is_noted_and_what_is_no_note_is_refused(tmp_path: Path) -> None:
    check_inputs(tmp_path)
    assert not (tmp_path / FILE).exists()
    check_inputs(tmp_path, "1")
    with pytest.raises(ValueError, match="other data than are there now"):
        check_inputs(tmp_path, "2")
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(ValueError, match="no mapping"):
        check_inputs(tmp_path, "1")

"""A refused command leaves nothing behind, so that the mended one can take its place; what is finished stays."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
from furnish import furnished

from embodkd.core import RunFolder
from embodkd.core.runs.digests import digest_of_folder

DIGITS = [
    "data=digits",
    "data.train=40",
    "data.validation=20",
    "budget.updates=2",
    "budget.batch_size=20",
    "quiet=true",
]
PPO = ["steps=64", "ppo.num_envs=4", "ppo.n_steps=4", "ppo.minibatch=16", "episodes=0", "quiet=true"]
DAGGER = ["num_envs=2", "method.rounds=1", "method.steps=2", "episodes=0", "quiet=true"]
RATE = "budget.optimiser.learning_rate="
STUDENT = ["distill", "student", "teacher=runs/expert"]
DEMOS = ["distill", "student", "demos=demos", "student.vectors=[proprio]", "method.rounds=1", "quiet=true"]
REFUSED = {
    "a key that is refused by the trainer": ["train", "teacher", *DIGITS, "model=cnn", "trainer.accumulate=2"],
    "an unknown key of a group": ["train", "teacher", *DIGITS, "model=mlp", "model.hiden=[8]"],
    "no teacher": ["distill", "student", *DIGITS, "method=kd"],
    "a teacher that is not there": ["distill", "student", *DIGITS, "method=kd", "teacher=runs/none"],
    "a minibatch that does not divide": ["train", "teacher", *PPO, "ppo.minibatch=7"],
    "a critic's group": ["train", "teacher", *PPO, "critic=[priviledged]"],
    "a key of the network": ["train", "teacher", *PPO, "network.hiden=[8]"],
    "a policy to start from": ["train", "teacher", *PPO, "init=runs/none"],
    "a base that predicts no chunks": ["train", "residual", "base=runs/expert", "episodes=0", "quiet=true"],
    "a base that is not there": ["train", "residual", "base=runs/none"],
    "a range upside down": ["train", "teacher", *DIGITS, "method=adversarial", "method.value_range=[1,0]"],
    "a range that the images leave": ["train", "teacher", *DIGITS, "method=adversarial", "method.value_range=[0,0.5]"],
    "a shift out of the picture": ["train", "teacher", *DIGITS, "model=cnn", "model.widths=[4]", "method.shift=100"],
    "the same class twice": ["train", "teacher", *DIGITS, "data.classes=[1,1]"],
    "heads that do not divide": ["train", "teacher", *DIGITS, "model=vit", "model.width=10", "model.heads=4"],
    "a critic that learns alone to the end": ["train", "teacher", *PPO, "ppo.critic_warmup=4"],
    "a minibatch of one": ["train", "teacher", *PPO, "ppo.minibatch=1"],
    "a delay that never ends": ["train", "teacher", *PPO, "randomise.latency=1000"],
    "a fine-tuning that ends in its warm-up": [*STUDENT, "student=blind", "finetune.steps=20480", *DAGGER],
    "plans in dagger": [*STUDENT, "student=mlp_chunk", "student.vectors=[proprio]", *DAGGER],
    "a method of other data": [*STUDENT, "student=blind", "method=chunk_bc"],
    "a camera that is none": [*STUDENT, "student=depth_cnn", "student.cameras=[proprio]", *DAGGER],
    "a card that is not there": [*STUDENT, "student=blind", "trainer.device=cuda", *DAGGER],
    "a horizon that is not halved": [*DEMOS, "student=diffusion", "student.horizon=6", "student.execute=2"],
    "a single step from pure noise": [*DEMOS, "student=diffusion", "student.steps=1", "student.warm_start=cold"],
    "the same demonstrations twice": ["distill", "student", "demos=[demos,./demos]", "student=mlp_chunk"],
    "demonstrations of another task": [*DEMOS, "student=mlp_chunk", "task=pick_lift"],
    "demonstrations without cameras": [*DEMOS, "student=camera_chunk", "student.cameras=[front]"],
    "no groups to record": ["record", "policy=runs/expert", "groups=[]", "num_envs=1"],
    "a scripted expert that is not there": ["record", "task=peg_hole"],
    "a camera": ["distill", "student", "teacher=runs/expert", "student=depth_cnn", "student.cameras=[wirst]", *DAGGER],
    "demonstrations that are not there": ["distill", "student", "demos=none"],
    "a group of demonstrations": ["distill", "student", "demos=demos", "student=mlp_chunk", "student.vectors=[joints]"],
    "a group to record": ["record", "policy=runs/expert", "groups=[nothing]", "num_envs=1"],
    "a policy to record": ["record", "policy=runs/none"],
    "demonstrations to be judged on that are not there": ["evaluate", "policy=runs/expert", "demos=none"],
    "recordings to be replayed that are not there": ["evaluate", "replay=none"],
    "recordings of another task to be replayed": ["evaluate", "replay=demos", "task=pick_lift"],
    "an episode alone": ["evaluate", "policy=runs/expert", "ablate=true", "episodes=1"],
    "a task that is another": ["evaluate", "policy=runs/expert", "task=pick_lift"],
    "a seed twice": ["compare", "policy=runs/expert", "against=runs/expert", "seed=[1,1]"],
    "a policy to compare with": ["compare", "policy=runs/expert", "against=runs/none"],
    "a report of data": ["report", "demos"],
    "a table that is none": ["reproduce", "nothing", "out=tables/here.json"],
    "a film by a camera that is not there": ["rollout", "policy=runs/expert", "camera=roof", "out=films/here"],
    "a film of nothing": ["rollout", "policy=runs/none", "out=films/here"],
    "a file of nothing": ["export", "policy=runs/none", "out=files/here.onnx"],
}  # fmt: skip
MORE = {
    "momentum of another optimiser": ["train", "teacher", *DIGITS, "budget.optimiser={name:adam,momentum:0.5}"],
    "more items than there are": ["train", "teacher", *DIGITS, "data.train=5000"],
    "patches larger than the picture": ["train", "teacher", *DIGITS, "model=vit", "model.patch=16"],
    "layers of other lengths": ["train", "teacher", *DIGITS, "model=resnet", "model.depths=[1,1]", "model.widths=[4]"],
    "steps of a rate that fall": ["train", "teacher", *DIGITS, RATE + "{shape:step,values:[1,2],at_steps:[5,2]}"],
    "a critic without groups": ["train", "teacher", *PPO, "critic=[]"],
    "a network without groups": ["train", "teacher", *PPO, "network.vectors=[]"],
    "a start that is data": ["train", "teacher", *PPO, "init=demos"],
    "a base that is data": ["train", "residual", "base=demos"],
    "plans of a diffusion": [*STUDENT, "student=diffusion", "student.vectors=[proprio]", *DAGGER],
    "plans with a camera": [*STUDENT, "student=camera_chunk", "student.horizon=4", *DAGGER],
    "plans in bc": [*STUDENT, "student=mlp_chunk", "student.vectors=[proprio]", "method=bc", "num_envs=2"],
    "a vector that is a picture": [*STUDENT, "student=depth_cnn", "student.vectors=[wrist_depth]", *DAGGER],
    "points that are a picture": [*STUDENT, "student=pointnet", "student.points=wrist_depth", *DAGGER],
    "a student without groups": [*STUDENT, "student=blind", "student.vectors=[]", *DAGGER],
    "a teacher that is data": ["distill", "student", "teacher=demos", "student=blind", *DAGGER],
    "a tracker that is not there": [*STUDENT, "student=blind", "tracker=wandbb", *DAGGER],
    "more carried out than planned": [*DEMOS, "student=diffusion", "student.horizon=4"],
    "a horizon beyond all episodes": [*DEMOS, "student=diffusion"],
    "demonstrations that are a policy": ["distill", "student", "demos=runs/expert", "student=mlp_chunk"],
    "a student that imitates no chunks": [*DEMOS, "student=mlp"],
    "a column that is not there": [*DEMOS, "student=mlp_chunk", "demos_keys={action:nothing}"],
    "a teacher of another make": [*DEMOS, "student=diffusion", "method=one_step", "teacher=runs/expert"],
    "a sentence said twice": [*DEMOS, "student=mlp_chunk", "student.sentences=[a,a]"],
    "a policy to record that is data": ["record", "policy=demos"],
    "data to be judged": ["evaluate", "policy=demos"],
    "an engine that the task has not": ["evaluate", "policy=runs/expert", "task=hand_lift", "engine=bullet"],
    "a film beside data": ["rollout", "policy=runs/expert", "beside=demos", "out=films/here"],
    "a film beside itself": ["rollout", "policy=runs/expert", "beside=runs/expert", "out=films/here"],
    "a file in a folder": ["export", "policy=runs/expert", "out=demos", "episodes=0"],
    "a file of data": ["export", "policy=demos", "out=files/here.onnx"],
}  # fmt: skip


@pytest.fixture(scope="module")
def furniture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnished(tmp_path_factory.mktemp("furniture"))


def there(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.mark.parametrize("reason", [*REFUSED, *(pytest.param(reason, marks=pytest.mark.faults) for reason in MORE)])
def test_a_refused_command_leaves_nothing_behind(reason: str, embodkd, tmp_path: Path, furniture: Path) -> None:
    shutil.copytree(furniture, tmp_path, dirs_exist_ok=True)
    before, words = there(tmp_path), {**REFUSED, **MORE}[reason]
    if words[0] in ("train", "distill", "record"):
        words = [*words, "run=new/place/run"]
    answer = embodkd(*words)
    assert answer.code == 2 and answer.err.startswith("embodkd: ") and answer.err.count("\n") == 1, answer.err
    assert there(tmp_path) == before


def test_a_missing_extra_leaves_nothing_behind_and_with_it_the_same_command_works(
    embodkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, words = importlib.util.find_spec, ["train", "teacher", "task=hand_lift", *PPO, "evaluate_episodes=1"]
    with monkeypatch.context() as without:
        without.setattr(importlib.util, "find_spec", lambda name, *a: None if "robotics" in name else find(name, *a))
        without.setitem(sys.modules, "gymnasium_robotics", None)
        answer = embodkd(*words)
        assert answer.code == 2 and "pip install 'embodkd[hand]'" in answer.err and not there(tmp_path)
    answer = embodkd(*words)
    assert answer.code == 0 and (tmp_path / "runs/teacher_hand_lift/policy").is_dir(), answer.err


EXTRAS = {
    "diffusers": [*DEMOS, "student=diffusion", "student.horizon=8", "run=runs/new"],
    "pyarrow.parquet": [*DEMOS, "student=mlp_chunk", "run=runs/new"],
    "onnxruntime": ["export", "policy=runs/expert", "format=onnx", "out=files/here.onnx"],
    "mlflow": [*STUDENT, "student=blind", "tracker=mlflow", *DAGGER, "run=runs/new"],
}


@pytest.mark.parametrize("module", EXTRAS)
def test_so_does_a_package_that_is_missing(
    module: str, embodkd, tmp_path: Path, furniture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(furniture, tmp_path, dirs_exist_ok=True)
    before = there(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    answer = embodkd(*EXTRAS[module])
    assert answer.code == 2 and "pip install" in answer.err and answer.err.count("\n") == 1, answer.err
    assert there(tmp_path) == before


def test_what_was_there_before_and_what_was_done_stay(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError), RunFolder.open(tmp_path / "mine" / "run", {}):
        raise ValueError
    assert there(tmp_path) == {"mine"}
    for done in (lambda run: run.log(1, loss=1.0), lambda run: (run.path / "bad_batch").mkdir()):
        with pytest.raises(ValueError), RunFolder.open(tmp_path / "mine" / "run", {}) as run:
            done(run)
            raise ValueError
        assert (tmp_path / "mine" / "run" / "config.yaml").exists()
        shutil.rmtree(tmp_path / "mine" / "run")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_a_run_that_is_gone_on_with_removes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    RunFolder.open(tmp_path / "run", {}).close()
    before = there(tmp_path)
    with pytest.raises(error), RunFolder.open(tmp_path / "run", {}, resume=True):
        raise error
    assert there(tmp_path) == before


def test_a_folder_of_somebody_else_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for resume in (False, True):
        with pytest.raises(ValueError), RunFolder.open(tmp_path, {}, resume=resume):
            pass
    assert there(tmp_path) == {"thesis.tex"}


def test_a_finished_recording_is_left_as_it_is(embodkd, tmp_path: Path, furniture: Path, monkeypatch) -> None:
    shutil.copytree(furniture, tmp_path, dirs_exist_ok=True)
    words = ["record", "policy=runs/expert", "episodes=2", "num_envs=2", "only_success=false", "groups=[proprio]"]
    words += ["quiet=true", "run=runs/r"]
    assert embodkd(*words).code == 0
    (tmp_path / "runs/r/demos/meta/appended.json").write_text("{}")
    before = digest_of_folder(tmp_path / "runs/r/demos")
    monkeypatch.setattr("embodkd.evaluation.record.record", lambda *a, **k: pytest.fail("it records anew"))
    answer = embodkd(*words, "resume=true")
    assert answer.code == 0 and "recorded already" in answer.out
    assert digest_of_folder(tmp_path / "runs/r/demos") == before

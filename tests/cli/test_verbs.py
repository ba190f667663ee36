"""Each verb, with tiny budgets: what it leaves on disk, what it answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from embodkd.evaluation import Evaluation


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """The working folder of `embodkd(...)`, with the runs in it."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path


def evaluation(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())


def test_runs_hold_what_the_house_promises(made: Path) -> None:
    for name in ("teacher_peg_hole", "depth_cnn_peg_hole"):
        run = made / "runs" / name
        for file in ("config.yaml", "manifest.json", "metrics.jsonl", "evaluation.json", "policy/model.safetensors"):
            assert (run / file).stat().st_size > 0, file
        assert evaluation(run)["episodes"] == 4
    command = json.loads((made / "runs/depth_cnn_peg_hole/manifest.json").read_text())["command"]
    assert command[:3] == ["embodkd", "distill", "student"] and "num_envs=4" in command


def test_a_student_names_its_teacher(made: Path) -> None:
    policy = json.loads((made / "runs/depth_cnn_peg_hole/policy/config.json").read_text())
    assert policy["lineage"]["teacher"]["policy"] == "runs/teacher_peg_hole/policy"
    assert policy["lineage"]["method"]["name"] == "dagger"


def test_evaluate_writes_the_result_where_asked(embodkd, here: Path, small) -> None:
    answer = embodkd("evaluate", "runs/teacher_peg_hole", *small["evaluate"], "seed=7", "out=there.json")
    assert answer.code == 0 and "of 4 episodes" in answer.out
    seeds = [e["seed"] for e in json.loads((here / "there.json").read_text())["per_episode"]]
    assert seeds == [7 * 2**32 + i for i in range(4)]


def test_the_script_of_a_task_is_judged_like_a_policy(embodkd, here: Path) -> None:
    words = ["policy=expert", "task=mug_rack", "episodes=3", "copies=3", "quiet=true"]
    assert "out" in embodkd("evaluate", *words).err
    answer = embodkd("evaluate", *words, "out=script.json")
    assert answer.code == 0 and "expert of mug_rack: 100.0 % of 3 episodes" in answer.out
    assert Evaluation.load(here / "script.json").episodes == 3
    none = embodkd("evaluate", "policy=expert", "task=peg_hole", "episodes=2", "out=none.json")
    assert none.code == 2 and "no scripted expert" in none.err and not (here / "none.json").exists()
    assert "leave out" in embodkd("evaluate", *words, "out=script.json", "ablate=true").err


def test_judging_on_another_task_does_not_overwrite_the_own_result(embodkd, here: Path, small) -> None:
    before = (here / "runs/teacher_peg_hole/evaluation.json").read_bytes()
    words = ["policy=runs/teacher_peg_hole", "task=peg_hole", "task.randomness=high", "quiet=true"]
    assert embodkd("evaluate", *words, *small["evaluate"]).code == 0
    assert (here / "runs/teacher_peg_hole/evaluation.json").read_bytes() == before
    other = json.loads((here / "runs/teacher_peg_hole/evaluation_randomness-high.json").read_text())
    assert other["protocol"]["options"]["randomness"] == "high"


def test_multirun_runs_every_combination_in_its_own_folder(embodkd, here: Path, small) -> None:
    words = [*small["distill student"], "student=blind", "episodes=0", "quiet=true", "teacher=runs/teacher_peg_hole"]
    assert embodkd("distill", "student", "-m", "seed=0,1", "run=runs/twins", *words).code == 0
    configs = [yaml.safe_load((here / f"runs/twins/seed={s}/config.yaml").read_text()) for s in (0, 1)]
    assert [c["seed"] for c in configs] == [0, 1]
    weights = [(here / f"runs/twins/seed={s}/policy/model.safetensors").read_bytes() for s in (0, 1)]
    assert weights[0] != weights[1]


def test_a_run_is_not_overwritten_but_goes_on_with_resume(embodkd, here: Path, small) -> None:
    words = ["teacher=runs/teacher_peg_hole", *small["distill student"], "quiet=true"]
    weights = here / "runs/depth_cnn_peg_hole/policy/model.safetensors"
    before = weights.read_bytes()
    refused = embodkd("distill", "student", *words)
    assert refused.code == 2 and "resume=true" in refused.err
    assert embodkd("distill", "student", *words, "resume=true").code == 0
    assert weights.read_bytes() == before


def test_a_teacher_of_another_task_is_refused(embodkd, here: Path, small) -> None:
    words = ["teacher=runs/teacher_peg_hole", "task=pick_lift", "run=runs/x", *small["distill student"]]
    answer = embodkd("distill", "student", *words)
    assert answer.code == 2 and "peg_hole" in answer.err and "pick_lift" in answer.err


def test_a_student_may_not_read_privileged_groups_unasked(embodkd, here: Path, small) -> None:
    words = ["teacher=runs/teacher_peg_hole", "student=mlp", "student.vectors=[privileged]", "run=runs/x"]
    answer = embodkd("distill", "student", *words, *small["distill student"])
    assert answer.code == 2 and "privileged" in answer.err


def test_dagger_goes_on_with_ppo_by_config(embodkd, here: Path, small) -> None:
    words = ["teacher=runs/teacher_peg_hole", "student=blind", "run=runs/tuned", "quiet=true"]
    words += [*small["distill student"], "finetune.steps=4096"]
    refused = embodkd("distill", "student", *words)
    assert refused.code == 2 and "finetune.critic_warmup=5" in refused.err and not (here / "runs/tuned").exists()
    answer = embodkd("distill", "student", *words, "finetune.critic_warmup=0")
    assert answer.code == 0 and not answer.err and "steps are" not in answer.out
    assert (here / "runs/tuned/finetune/policy/model.safetensors").exists()
    tuned = (here / "runs/tuned/policy/model.safetensors").read_bytes()
    assert tuned == (here / "runs/tuned/finetune/policy/model.safetensors").read_bytes()


def test_compare_answers_in_words(embodkd, here: Path, small) -> None:
    words = ["policy=runs/depth_cnn_peg_hole", "against=runs/teacher_peg_hole/evaluation.json", "quiet=true"]
    answer = embodkd("compare", *words, *small["compare"])
    assert answer.code == 0 and "shared episodes" in answer.out


def test_methods_are_listed_and_shown(embodkd) -> None:
    assert "dagger" in embodkd("methods").out
    shown = embodkd("methods", "show", "dagger").out
    assert "1011.0686" in shown or "Ross" in shown
    assert "method.rounds=8" in shown
    facts = json.loads(embodkd("methods", "show", "dagger", "--json").out)
    assert facts["slug"] == "dagger" and facts["keys"]["rounds"] == 8


@pytest.mark.faults
def test_compare_on_several_seeds_pools_the_episodes_of_each(embodkd, here: Path) -> None:
    """The figures are those of all episodes that `evaluate` judges with each seed by itself."""
    pair, words = ("runs/teacher_peg_hole", "runs/depth_cnn_peg_hole"), ["episodes=3", "torch_threads=1", "quiet=true"]
    answer = embodkd("compare", f"policy={pair[0]}", f"against={pair[1]}", "seed=[0,1]", "copies=2", *words)
    assert answer.code == 0, answer.err
    for policy in pair:
        won = 0
        for seed in (0, 1):
            assert embodkd("evaluate", policy, f"seed={seed}", f"out=s{seed}.json", "copies=3", *words).code == 0
            stored = json.loads((here / f"s{seed}.json").read_text())
            assert stored["protocol"]["seed"] == seed and stored["episodes"] == 3
            won += stored["successes"]
        assert f"{policy}: {100 * won / 6:.1f} % of 6 episodes (95 %: " in answer.out
    assert "on 6 shared episodes, p = " in answer.out.splitlines()[-1]
    both = embodkd("compare", f"policy={pair[0]}", f"against={pair[1]}", "seed=[0,1]", "copies=3", *words)
    assert both.out == answer.out
    stored = embodkd("compare", f"policy={pair[0]}", "against=s0.json", "seed=[0,1]", *words)
    assert stored.code == 2 and "cannot be compared" in stored.err and stored.err.count("\n") == 1

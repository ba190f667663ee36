"""A policy in a world that is not its own: refused before anything is made, or asked for aloud and said everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from embodkd.envs import make_task
from embodkd.policies import make_policy, save_policy, task_record

HERE = "task=mug_rack"  # its groups and actions have the sizes of peg_assembly's
SAID = "task: peg_assembly, here mug_rack"
VERBS = {
    "evaluate": "evaluate policy=runs/peg episodes=1 quiet=true",
    "compare": "compare policy=runs/peg against=runs/peg episodes=1 quiet=true",
    "rollout": "rollout policy=runs/peg episodes=1",
    "record": "record policy=runs/peg episodes=1 only_success=false num_envs=1 quiet=true",
    "train residual": "train residual base=runs/peg quiet=true",
    "train teacher": "train teacher init=runs/peg quiet=true",
    "distill student": "distill student teacher=runs/peg student=mlp num_envs=1 quiet=true",
}


def plan(run: Path, **record: object) -> Path:
    """A policy that plans chunks for peg_assembly, untrained; `record` changes what it says of its task."""
    task = make_task("peg_assembly", 1, threads=1)
    policy = make_policy("mlp_chunk", task.spec.groups, task.spec.action_size, width=8, blocks=1)
    save_policy(run / "policy", policy, task={**task_record(task.spec), **record})
    task.close()
    return run


@pytest.fixture
def here(tmp_path: Path) -> Path:
    plan(tmp_path / "runs/peg")
    return tmp_path


def files(where: Path) -> list[str]:
    return sorted(str(path.relative_to(where)) for path in where.rglob("*"))


@pytest.mark.parametrize("verb", VERBS)
def test_another_task_is_refused_before_anything_is_made(embodkd, here: Path, verb: str) -> None:
    before = files(here)
    answer = embodkd(*VERBS[verb].split(), HERE)
    assert answer.code == 2 and SAID in answer.err and "transfer=true" in answer.err, answer.err
    assert files(here) == before and "%" not in answer.out


def test_what_was_asked_for_aloud_is_said_in_the_file_the_terminal_and_the_report(embodkd, here: Path) -> None:
    answer = embodkd(*VERBS["evaluate"].split(), HERE, "transfer=true", "out=runs/peg/evaluation.json")
    assert answer.code == 0 and f"beware: transfer to another world than it was made for ({SAID}" in answer.out
    [said] = json.loads((here / "runs/peg/evaluation.json").read_text())["manifest"]["beware"]
    assert SAID in said
    assert embodkd("report", "runs/peg").code == 0
    assert SAID in (here / "runs/peg/report.html").read_text()


def test_a_policy_without_a_simulator_says_so(embodkd, here: Path) -> None:
    config = here / "runs/peg/policy/config.json"
    stored = json.loads(config.read_text())
    config.write_text(json.dumps({**stored, "task": {"name": "peg50"}, "control_hz": 50.0}))
    for verb in ("evaluate", "compare", "rollout", "train residual"):
        answer = embodkd(*VERBS[verb].split())
        assert answer.code == 2 and "'peg50'" in answer.err and "no simulator: demos=" in answer.err, answer.err
    answer = embodkd(*VERBS["evaluate"].split(), "task=peg_assembly")
    assert answer.code == 2 and "task: peg50, here peg_assembly" in answer.err
    assert "control rate: 50 Hz, here 10 Hz" in answer.err


def test_a_mark_of_privilege_that_was_changed_is_an_error_when_judged_and_in_the_report(embodkd, here: Path) -> None:
    assert embodkd(*VERBS["evaluate"].split()).code == 0
    config = here / "runs/peg/policy/config.json"
    stored = json.loads(config.read_text())
    assert stored["groups"]["privileged"]["privileged"]
    stored["groups"]["privileged"]["privileged"] = False
    config.write_text(json.dumps(stored))
    for words in (*VERBS.values(), "report runs/peg"):
        answer = embodkd(*words.split(), *(["task=peg_assembly"] if "init=" in words else []))
        assert answer.code == 2 and "'privileged'" in answer.err, (words, answer.err)


def test_what_sensors_are_worth_in_another_world_does_not_replace_what_they_are_worth_in_its_own(
    embodkd, tmp_path: Path
) -> None:
    """A short episode, so that it takes no time; a blind policy has one sensor."""
    task = make_task("peg_hole", 1, threads=1)
    save_policy(
        tmp_path / "runs/blind/policy",
        make_policy("blind", task.spec.groups, task.spec.action_size, hidden=(4,)),
        task=task_record(task.spec),
    )
    task.close()
    words = ["evaluate", "policy=runs/blind", "episodes=2", "copies=2", "ablate=true", "quiet=true", "torch_threads=1"]
    assert embodkd(*words).code == 0
    own = (tmp_path / "runs/blind/ablation.json").read_bytes()
    assert embodkd(*words, "task=peg_hole", "task.randomness=high", "seed=3").code == 0
    assert (tmp_path / "runs/blind/ablation.json").read_bytes() == own
    other = json.loads((tmp_path / "runs/blind/ablation_randomness-high_seed_3.json").read_text())
    assert other["protocol"]["options"]["randomness"] == "high" and other["protocol"]["seed"] == 3
    assert embodkd("report", "runs/blind").code == 0

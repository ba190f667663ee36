"""A system at its published scale: its file says what the paper does, and a dry run carries it out on a little."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from embodkd.envs import make_task
from embodkd.policies import make_policy

from embodkd.cli.compose import resolved
from embodkd.cli.dry_chain import LITTLE, check_commands, little, of_first_setting, try_chain
from embodkd.cli.keys import folder, options
from embodkd.cli.verbs import find
from embodkd.evaluation.chains import read_chains

FULL = {name: read_chains(folder() / "full_systems" / f"{name}.yaml") for name in options("full_systems")}
TASKS = ("peg_assembly", "mug_rack", "one_leg_lite", "stack_lamp", "round_table_lite")
TINY = """
slug: tiny
tables:
  main:
    grid: {seed: [0, 1]}
    cells:
      demos: {command: "record task=peg_assembly episodes=50 groups=[proprio] seed={seed} run={run}"}
      base:
        after: [demos]
        command: >-
          distill student demos={demos} student=diffusion student.vectors=[proprio] student.widths=[8,16]
          method.rounds=400 method.batch_size=256 seed={seed} run={run}
      resip:
        after: [base]
        command: >-
          train residual base={base} learner=ppo ppo.num_envs=1024 ppo.minibatches=1 steps=500000000 seed={seed}
          run={run}
        row: {policy: resip}
"""


@pytest.mark.parametrize("name", FULL)
def test_every_command_is_right_and_stays_so_on_a_little(name: str) -> None:
    cells = FULL[name]
    check_commands(list(cells.values()))
    for cell in cells.values():
        words, less = shlex.split(cell.command), little(cell.command)
        verb, _ = find(words)
        assert verb is not None
        small = LITTLE[verb.shown]
        assert [w for w in words if w.partition("=")[0] not in small] == less[: len(less) - len(small)]
        assert less[len(less) - len(small) :] == [f"{key}={value}" for key, value in small.items()]
        resolved(shlex.join(less))
    assert len(of_first_setting(cells)) == 3


@pytest.mark.parametrize("task", TASKS)
def test_resip_is_the_papers_learner_on_whole_episodes_of_1024_copies(task: str) -> None:
    function, config = resolved(FULL["resip"][f"{task}/low/0/resip"].command)
    assert function.endswith("TrainResidual") and config["learner"] == "ppo" and config["steps"] == 500_000_000
    # by the paper's released configs: 1024 copies, up to 50 passes in one minibatch, fixed noise
    paper = {
        "num_envs": 1024, "epochs": 50, "minibatches": 1, "gamma": 0.999, "gae_lambda": 0.95, "clip": 0.2,
        "kl_stop": 0.1, "log_std": -1.0, "learn_log_std": False, "actor_rate": 3e-4, "critic_rate": 5e-3,
        "weight_decay": 1e-6, "adam_eps": 1e-5, "max_grad_norm": 1.0,
    }  # fmt: skip
    assert {key: config["ppo"][key] for key in paper} == paper
    assert config["residual"] | {"alpha": 0.1, "every": 1, "hidden": [256, 256]} == config["residual"]
    world = make_task(task, 1)
    world.close()
    assert config["evaluate_every"] == config["checkpoint_every"] == 5 * 1024 * world.spec.max_steps
    assert config["evaluate_episodes"] == 1024


@pytest.mark.parametrize("task", TASKS)
def test_its_base_has_the_papers_network(task: str) -> None:
    """The released U-Net of 256, 512 and 1024 channels has 65,754,634 parameters on 37 numbers, 14,336 for each."""
    _, config = resolved(FULL["resip"][f"{task}/medium/2/base"].command)
    student, method = dict(config["student"]), config["method"]
    world = make_task(task, 1)
    world.close()
    with torch.device("meta"):
        policy = make_policy(student.pop("name"), world.spec.groups, 10, **student)
    seen = sum(world.spec.groups[name].shape[0] for name in policy.reads)
    assert sum(p.numel() for p in policy.parameters()) == 65_754_634 + 14_336 * (seen - 37)
    assert (policy.horizon, policy.execute) == (32, 8)
    assert method["rounds"] * method["updates_per_round"] == 400_000 and method["batch_size"] == 256


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_dry_run_carries_out_what_is_asked_for_and_needed_and_stores_nothing(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    file, said = tmp_path / "tiny.yaml", list[str]()
    file.write_text(TINY)
    try_chain(file, ["1/resip"], said.append)
    assert [line.partition(":")[0] for line in said] == ["1/demos", "1/base", "1/resip"]
    assert list(tmp_path.iterdir()) == [file]
    file.write_text(TINY.replace("[8,16]", "[8,16,16,16,16,16,16]"))
    with pytest.raises(ValueError, match=r"0/base: embodkd distill .*\n.*horizon 32 cannot be halved 6 times"):
        try_chain(file, ["0/base"], said.append)


def test_what_has_no_small_form_or_is_no_verb_is_refused() -> None:
    with pytest.raises(ValueError, match="a dry run knows record"):
        little("evaluate policy=runs/x")
    cells = list(FULL["resip"].values())
    with pytest.raises(ValueError, match="no verb of embodkd begins"):
        check_commands([*cells[:1], type(cells[0])("x", "main", "trian residual", Path("x"), "")])


def test_a_system_without_a_published_scale_says_so(embodkd) -> None:  # type: ignore[no-untyped-def]
    answer = embodkd("reproduce", "learning", "full=true", "dry_run=true")
    assert answer.code == 2 and "full_systems: no table 'learning'" in answer.err

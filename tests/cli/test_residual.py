"""`embodkd train residual`: from a base's folder to a judged sum, in the task that the base was made for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.policies import load_policy, make_policy, save_policy, task_record


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that moves the tool somewhere above the table, made for medium randomness."""
    world = make_task("peg_assembly", 1, randomness="medium")
    policy = make_policy("mlp_chunk", world.spec.groups, 10, width=8, blocks=1)
    world.reset(np.zeros(1, np.int64))
    obs = world.observe(policy.reads)
    low = np.array([-0.05, -0.05, 0.1, 1, 0, 0, 0, 1, 0, -1], np.float32)
    policy.fit_normalisers(obs, np.stack([low, low + 0.1]).clip(-1, 1))
    task = task_record(world.spec)
    world.close()
    return save_policy(tmp_path_factory.mktemp("base") / "policy", policy, task=task)


def test_a_base_becomes_a_judged_sum(embodkd, tmp_path: Path, base: Path, small) -> None:
    answer = embodkd("train", "residual", f"base={base}", *small["train residual"], "residual.hidden=[8]", "quiet=true")
    assert answer.code == 0, answer.err
    # whole iterations of 32 steps in two copies
    assert "448 steps" in answer.out and "of 2 episodes" in answer.out
    run = tmp_path / "runs/residual_peg_assembly"
    assert set(json.loads((run / "corrections.json").read_text())) <= {"reach", "grasp", "carry", "insert"}
    policy, meta = load_policy(run / "policy_last")
    assert meta["policy"] == "residual" and meta["task"]["options"]["randomness"] == "medium"
    assert meta["lineage"]["base"]["policy"] == str(base)
    assert json.loads((run / "evaluation.json").read_text())["protocol"]["options"]["randomness"] == "medium"


def test_without_a_base_it_says_what_is_missing(embodkd, small) -> None:
    answer = embodkd("train", "residual", *small["train residual"])
    assert answer.code == 2 and "needs base=" in answer.err
    answer = embodkd("train", "residual", "base=x", "ppo.epoch=3")
    assert answer.code == 2 and "ppo.epochs" in answer.err

"""A tiny teacher and its students, made once by the command line itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Budgets that only show that nothing breaks.
SMALL = {
    "train teacher": [
        "steps=1024",
        "ppo.num_envs=32",
        "ppo.minibatch=256",
        "evaluate_episodes=4",
        "episodes=4",
        "torch_threads=1",
    ],
    "train residual": [
        "steps=400",
        "td3.num_envs=2",
        "td3.every=64",
        "td3.warmup=128",
        "td3.critic_warmup=128",
        "evaluate_episodes=2",
        "episodes=2",
        "torch_threads=1",
    ],
    "distill student": ["num_envs=4", "method.rounds=1", "method.steps=6", "episodes=4", "torch_threads=1"],
    "record": ["episodes=2", "num_envs=4", "torch_threads=1"],
    "distill student demos=...": [
        "method.rounds=1",
        "method.updates_per_round=2",
        "method.batch_size=8",
        "episodes=2",
        "torch_threads=1",
    ],
    "train teacher data=...": ["budget.updates=5", "torch_threads=1"],
    "distill student data=...": ["budget.updates=5", "torch_threads=1"],
    "reproduce": ["dry_run=true", "arms=[nd]"],
    "evaluate": ["episodes=4", "torch_threads=1"],
    "evaluate replay=...": ["episodes=4", "tries=1", "copies=4", "torch_threads=1"],
    "compare": ["episodes=4", "torch_threads=1"],
    "rollout": ["episodes=1"],
    "export": ["episodes=2"],
    "demo": ["steps=1024", "num_envs=4", "rounds=1", "episodes=4", "filmed=1"],
    "doctor": ["seconds=0.05"],
    "study": ["dry_run=true"],
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/teacher_peg_hole and runs/depth_cnn_peg_hole."""
    from embodkd.cli import main

    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "teacher", *SMALL["train teacher"], "quiet=true"]) == 0
        student = ["teacher=runs/teacher_peg_hole", *SMALL["distill student"], "quiet=true"]
        assert main(["distill", "student", *student]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(scope="session")
def small() -> dict[str, list[str]]:
    """Verb -> overrides that make it tiny."""
    return SMALL

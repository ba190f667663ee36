"""A simulation that blows up ends every verb that simulates with one line that says so, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from embodkd.envs.sim.batch_sim import BatchSim
from furnish import furnished

PPO = ["ppo.num_envs=4", "ppo.n_steps=4", "ppo.minibatch=16", "evaluate_episodes=1", "episodes=0"]
VERBS = {
    "evaluate": ["evaluate", "runs/expert", "episodes=2", "copies=2"],
    "rollout": ["rollout", "runs/expert", "episodes=1"],
    "record": ["record", "policy=runs/expert", "episodes=2", "num_envs=2", "run=runs/new"],
    "distill": ["distill", "student", "teacher=runs/expert", "student=mlp", "num_envs=2", "run=runs/new"],
    "train": ["train", "teacher", "task=peg_hole", "steps=16", *PPO, "run=runs/new"],
    "export": ["export", "policy=runs/expert", "format=torch", "episodes=2"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_one_line_and_nothing_lost(verb: str, embodkd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    furnished(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    step, calls = BatchSim.step, []

    def blown_up(sim: BatchSim, substeps: int) -> None:
        calls.append(1)
        if len(calls) > 3:
            sim.view("qvel")[0, 0] = np.nan
        step(sim, substeps)

    monkeypatch.setattr(BatchSim, "step", blown_up)
    answer = embodkd(*VERBS[verb])
    assert answer.code == 2 and "Traceback" not in answer.err
    (said,) = [line for line in answer.err.splitlines() if line.startswith("embodkd: ")]
    assert "simulation" in said and "copies [0]" in said, said
    assert before == {p: p.read_bytes() for p in before}

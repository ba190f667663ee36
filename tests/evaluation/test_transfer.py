"""The matrix has one evaluation per policy and engine, on the same seeds."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import embodkd.envs
import numpy as np
import pytest
from coin import Coin, guesser, knower
from embodkd.envs import make_task
from embodkd.policies import make_policy, save_policy, task_record

from embodkd.evaluation import transfer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict]]:
    asked: list[tuple[str, dict]] = []

    def make(name: str, num_envs: int, **options: object) -> Coin:
        asked.append((name, options))
        return Coin(num_envs)

    monkeypatch.setattr(embodkd.envs, "make_task", make)
    return asked


def test_every_policy_is_judged_in_every_engine_with_the_same_options(engines, tmp_path: Path) -> None:
    matrix = transfer({"a": knower(), "b": guesser()}, "coin", {"side": 1}, episodes=30, quiet=True)
    assert [options for _, options in engines] == [{"side": 1, "engine": e} for e in ("mujoco", "bullet")] * 2
    assert matrix.cells["a", "bullet"].success_rate == 1.0
    assert matrix.cells["b", "mujoco"].outcomes == matrix.cells["b", "bullet"].outcomes
    cells = json.loads(matrix.save(tmp_path).read_text())["cells"]
    assert [(cell["policy"], cell["engine"]) for cell in cells] == list(matrix.cells)
    assert str(matrix).count("100.0 %") == 2 and "judged in bullet" in str(matrix)


def test_no_policy_is_an_error() -> None:
    with pytest.raises(ValueError, match="no policy"):
        transfer({}, "peg_hole")


class Inserter:
    """Over the socket first, then down, from privileged observations: needs no training."""

    reads = ("privileged",)

    def act(self, obs: dict[str, np.ndarray]) -> np.ndarray:
        seen = obs["privileged"]
        above = np.clip((0.004 + seen[:, 2:3]) / 0.01, -1, 1)
        down = np.where(np.linalg.norm(seen[:, :2], axis=1, keepdims=True) < 0.002, -1.0, above)
        return np.concatenate([seen[:, :2] / 0.01, down, seen[:, 6:9] / 0.05], axis=1).astype(np.float32)


def test_a_hand_that_inserts_in_one_engine_does_so_in_the_other() -> None:
    pytest.importorskip("pybullet")
    matrix = transfer({"scripted": Inserter()}, "peg_hole", {"randomness": "low"}, episodes=8, copies=4, quiet=True)
    mujoco, bullet = (matrix.cells["scripted", engine] for engine in ("mujoco", "bullet"))
    assert mujoco.success_rate == bullet.success_rate == 1.0
    assert [o.seed for o in mujoco.outcomes] == [o.seed for o in bullet.outcomes]
    assert mujoco.protocol | {"engine": "bullet"} == bullet.protocol
    assert [o.total_reward for o in mujoco.outcomes] != [o.total_reward for o in bullet.outcomes]


def untrained(run: Path) -> Path:
    task = make_task("peg_hole", 1, randomness="high")
    policy = make_policy("mlp", task.spec.groups, task.spec.action_size, vectors=("proprio", "privileged"))
    save_policy(run / "policy", policy, task=task_record(task.spec), lineage={"method": "ppo", "seed": 0})
    (run / "manifest.json").write_text(json.dumps({"command": ["/some/where/embodkd", "train", "teacher", "seed=0"]}))
    return run


def test_every_stored_row_is_of_its_task_as_it_is_or_says_that_it_is_stale() -> None:
    stored = json.loads((ROOT / "results/transfer.json").read_text())["tables"]["matrix"]
    versions = {}
    for name in {row["task"] for row in stored}:
        with closing(make_task(name, 1)) as task:
            versions[name] = task.spec.version
    for row in stored:
        assert row["protocol"].get("version") == versions[row["task"]] or row.get("stale"), row["cell"]


@pytest.mark.slow
def test_the_stored_matrix_can_be_typed_again(tmp_path: Path, embodkd) -> None:
    pytest.importorskip("pybullet")
    run, out = untrained(tmp_path / "runs/teacher"), tmp_path / "results/transfer.json"
    words = [sys.executable, "-m", "benchmarks.transfer", str(run), "--episodes", "3", "--out", str(out)]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert f"{run}" in said.stdout and "judged in bullet" in said.stdout
    rows = {row["cell"]: row for row in json.loads(out.read_text())["tables"]["matrix"]}
    assert sorted(rows) == ["teacher in bullet", "teacher in mujoco"]
    for engine in ("mujoco", "bullet"):
        row = rows[f"teacher in {engine}"]
        assert (row["trained_in"], row["judged_in"], row["episodes"]) == ("mujoco", engine, 3)
        assert row["trained_by"] == "embodkd train teacher seed=0"
        assert row["protocol"]["options"]["randomness"] == "high" and row["protocol"]["engine"] == engine
        assert len(row["manifest"]["weights_sha256"]) == 64
        program, *rest = shlex.split(row["command"])
        assert program == "embodkd"
        answer = embodkd(*rest, f"out={tmp_path / engine}.json", "quiet=true")
        assert answer.code == 0 and f"of {row['episodes']} episodes" in answer.out
        again = json.loads((tmp_path / f"{engine}.json").read_text())
        assert all(again[key] == row[key] for key in ("successes", "failures", "protocol"))

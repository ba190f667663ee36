"""What commands left on a disk, tiny, each part made once: the files that the faults are done to."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from furnish import furnished

ROOT = Path(__file__).parents[2]
QUIET = ["quiet=true", "torch_threads=1"]
PPO = ["steps=64", "ppo.num_envs=4", "ppo.n_steps=4", "ppo.minibatch=16", "network.hidden=[8]", "episodes=0", *QUIET]
DIGITS = ["data=digits", "data.train=40", "data.validation=20", "budget.updates=4", "budget.batch_size=20", *QUIET]
TEACHER = ["train", "teacher", *PPO, "run=runs/teacher"]
CLASSIFIER = ["train", "teacher", *DIGITS, "model=mlp", "model.hidden=[4]", "run=runs/digits"]
CLONE = [
    *("distill", "student", "demos=demos", "student=mlp_chunk", "student.vectors=[proprio]", "student.width=8"),
    *("student.blocks=1", "method.rounds=1", "method.updates_per_round=2", "method.batch_size=8", "episodes=0"),
    *QUIET,
]
TABLE = """
slug: tiny
title: a tiny table
data: {name: digits, train: 40, validation: 20}
teachers:
  teacher: {model: {name: mlp, hidden: [8]}, method: {name: supervised}}
student: {name: mlp, hidden: [4]}
budget: {updates: 3, batch_size: 20}
seeds: [0, 1]
arms:
  alone: {role: student_alone, method: {name: supervised}}
  kd: {role: method, method: {name: kd}}
checks:
  - {claim: "a number", left: kd.accuracy, above: -1, over: every_seed}
"""


def ran(*words: str) -> None:
    from embodkd.cli import main

    assert main(words) == 0


def _teacher() -> None:
    ran(*TEACHER)
    ran("evaluate", "policy=runs/teacher", "episodes=2", "copies=2", "ablate=true", *QUIET)
    shutil.copy("runs/teacher/evaluation.json", "judged.json")


def _digits() -> None:
    ran(*CLASSIFIER)


def _clone() -> None:
    furnished(Path())
    ran(*CLONE, "run=runs/clone")
    ran("evaluate", "policy=runs/clone", "demos=demos", *QUIET)


def _tables() -> None:
    Path("results").mkdir()
    shutil.copy(ROOT / "results" / "nkd_uskd.json", "results/nkd_uskd.json")
    system = json.loads((ROOT / "results" / "resip.json").read_text())
    rows = [row for rows in system["tables"].values() for row in rows if "curve" in row or "corrections" in row][:2]
    Path("results/resip.json").write_text(json.dumps({"slug": "resip", "tables": {"main": rows}}))
    Path("tiny.yaml").write_text(TABLE)


PARTS: dict[str, Callable[[], None]] = {"teacher": _teacher, "digits": _digits, "clone": _clone, "tables": _tables}


class Places:
    """`places.copy("teacher", folder)` puts a part into a folder; it is made when it is first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory, self._made = factory, dict[str, Path]()

    def copy(self, part: str, folder: Path) -> None:
        if part not in self._made:
            self._made[part] = self._factory.mktemp(part)
            before = Path.cwd()
            os.chdir(self._made[part])
            try:
                PARTS[part]()
            finally:
                os.chdir(before)
        shutil.copytree(self._made[part], folder, dirs_exist_ok=True, symlinks=True)

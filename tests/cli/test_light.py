"""Verbs that only read and print answer without torch, which takes longer to import than all that they do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embodkd.evaluation import Episode, Evaluation

ROOT = Path(__file__).parents[2]
SAID = (
    "import sys; from embodkd.cli import main; code = main(sys.argv[1:]); print('torch' in sys.modules); sys.exit(code)"
)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder with stored tables and two judged runs."""
    shutil.copytree(ROOT / "results", tmp_path / "results")
    for name, right in (("one", 6), ("other", 3)):
        episodes = tuple(Episode(seed, seed < right, "none" if seed < right else "wrong", 0.0, 1) for seed in range(8))
        protocol = {"task": "peg_hole", "engine": "mujoco", "options": {}, "seed": 0}
        Evaluation(episodes, protocol, {}).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["methods"],
        ["methods", "--markdown"],
        ["reproduce"],
        ["report", "results/resip.json"],
        ["compare", "policy=one/evaluation.json", "against=other/evaluation.json"],
        ["report", "one"],
    ],
    ids=" ".join,
)
def test_a_verb_that_only_prints_imports_no_torch(stored: Path, words: list[str]) -> None:
    child = subprocess.run([sys.executable, "-c", SAID, *words], cwd=stored, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    *printed, torch = child.stdout.splitlines()
    assert torch == "False" and printed

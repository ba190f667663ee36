"""`python -m embodkd` is the command, and what it says of its steps comes before the training."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SMALL = ["episodes=0", "evaluate_episodes=1", "network.hidden=[8]", "torch_threads=1", "run=runs/x"]


def said(folder: Path, *words: str) -> list[str]:
    """What `python -m embodkd` writes into a pipe, both ways out in one, line by line."""
    command = [sys.executable, "-m", "embodkd", *words]
    child = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.returncode == 0, child.stdout
    return child.stdout.splitlines()


def test_it_is_the_same_as_embodkd(tmp_path: Path) -> None:
    import embodkd

    assert said(tmp_path, "--version") == [f"embodkd {embodkd.__version__}"]


def test_steps_are_rounded_aloud_before_a_teacher_is_trained(tmp_path: Path) -> None:
    first, *between, last = said(tmp_path, "train", "teacher", "steps=9000", *SMALL)
    assert first == "runs/x: 9,000 steps are 12,288: whole rollouts of 256 copies x 16 steps, two at least"
    assert last.startswith("runs/x: 12288 steps in ")
    shares = [int(share) for line in between for share in re.findall(r"(\d+)%", line)]
    assert shares[-1] == 100 and max(shares) == 100

"""Programs that speak, from the machine's own packages."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence


def require(program: str, data: str) -> None:
    """ValueError that says how to install it, if it is not there."""
    if shutil.which(program) is None:
        raise ValueError(f"data {data}: needs the program {program}, which is missing: apt-get install {program}")


def answer(words: Sequence[str], given: str = "") -> str:
    """What a program prints; ValueError with what it said if it failed."""
    done = subprocess.run(words, input=given, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-500:]
        raise ValueError(f"{' '.join(words)}: exit code {done.returncode}: {said}; install {words[0]} anew")
    return done.stdout

"""Where a result comes from: package versions, the commit of the code, the time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

from embodkd.core.config.ranges import Within


class Manifest(TypedDict, total=False):
    """What is read of a manifest, whoever wrote it; it may hold more, and all of it is made by `RunFolder`."""

    command: list[str]
    started: str
    finished: str | None
    resumed: list[str]
    git_commit: str | None
    python: str
    platform: str
    cpus: int | None
    versions: dict[str, str | None]
    seed: Any
    device: str
    minutes: float | None
    memory_mib: float
    torch_threads: Annotated[int, Within(1, 1024)]


_PACKAGES = ("embodkd", "torch", "numpy", "mujoco", "gymnasium", "stable-baselines3", "accelerate", "pybullet")


def versions() -> dict[str, str | None]:
    """Installed versions of the packages that can move a number; None for those that are absent."""
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def git_commit() -> str | None:
    """The commit that the code was run from, "-dirty" if it had changes; None outside a checkout.

    Changes below results/ do not count: a table that is being filled is an outcome of the code, not a part of it.
    """
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return None
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
    return f"{commit}-dirty" if changes else commit


def _git(*words: str) -> str:
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def hardware() -> dict[str, str | int | None]:
    """The machine that a number came from: processor, its cores, operating system, graphics card if torch sees one."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")

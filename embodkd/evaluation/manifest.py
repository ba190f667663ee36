"""What must be known about an evaluation besides its outcomes: software, code, policy and command."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

from embodkd.core.runs.manifest import git_commit, now, versions


def manifest_of(policy_folder: str | Path | None) -> dict[str, Any]:
    """Versions, commit, date, command; and for a saved policy its folder and the SHA-256 of its weights."""
    facts: dict[str, Any] = {
        "date": now(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": git_commit(),
        "versions": versions(),
        "policy": None,
        "weights_sha256": None,
    }
    if policy_folder is not None:
        facts |= {"policy": str(policy_folder), "weights_sha256": digest_of_weights(Path(policy_folder))}
    return facts


def digest_of_weights(folder: Path) -> str:
    """The SHA-256 of the weights of a saved policy or model; ValueError if there are none."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ValueError(f"{folder}: no model.safetensors in it; name a folder written by save_policy")
    return hashlib.sha256(weights.read_bytes()).hexdigest()

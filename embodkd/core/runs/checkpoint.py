"""Checkpoints on disk: each whole or absent, checked by digests, the newest good one first.

checkpoints/step_N/tensors.safetensors    weights, optimisers, random numbers
                   state.json             the rest, as JSON
and the digest of each beside it
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodkd.core.runs.digests import check_digest, write_digest
from embodkd.core.runs.files import atomic_folder, read_json, read_tensors, remove_folder, write_json, write_tensors

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_KEPT = 2
_TENSORS, _STATE = "tensors.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """One saved state: `tensors` (arrays as arrays, tensors on the CPU) and the JSON `state`, at `step`.

    minutes: that the run had taken; metrics_bytes: how long metrics.jsonl was.
    """

    step: int
    tensors: dict[str, Any]
    state: dict[str, Any]
    path: Path
    minutes: float = 0.0
    metrics_bytes: int = 0


def write_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor | np.ndarray],
    state: Mapping[str, Any],
    *,
    minutes: float,
    metrics_bytes: int,
) -> Path:
    """Write `folder`/step_N whole or not at all; the last two are kept. A failed write leaves the former one."""
    path = folder / f"step_{step}"
    with atomic_folder(path) as aside:
        write_tensors(aside / _TENSORS, tensors)
        facts = {"step": step, "state": dict(state), "minutes": minutes, "metrics_bytes": metrics_bytes}
        write_json(aside / _STATE, facts)
        write_digest(aside / _STATE)
    for former in _folders(folder)[:-_KEPT]:
        remove_folder(former)
    return path


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest good checkpoint in `folder`, None if there is none.

    A damaged one is skipped with a warning that names it and what is taken instead; ValueError if all are damaged.
    """
    folders = _folders(folder)
    complaints: list[str] = []
    for path in reversed(folders):
        try:
            found = _read(path)
        except ValueError as error:
            complaints.append(str(error))
            continue
        for complaint in complaints:
            warnings.warn(f"skipped a damaged checkpoint: {complaint}; {path.name} is taken instead", stacklevel=3)
        return found
    if folders:
        raise ValueError(
            f"{folder.parent}: no checkpoint can be read ({'; '.join(complaints)}); remove the folder and start anew"
        )
    return None


def _folders(folder: Path) -> list[Path]:
    found = [p for p in folder.glob("step_*") if p.name[5:].isdigit()]
    return sorted(found, key=lambda p: int(p.name[5:]))


def _read(path: Path) -> Checkpoint:
    for name in (_STATE, _TENSORS):
        if not (path / name).is_file():
            raise ValueError(f"{path / name}: missing")
    check_digest(path / _STATE)
    facts = _facts(read_json(path / _STATE), path / _STATE)
    tensors = read_tensors(path / _TENSORS)
    # versions before 0.1's last did not always tell the time
    return Checkpoint(
        facts["step"], tensors, facts["state"], path, facts.get("minutes", 0.0), facts.get("metrics_bytes", 0)
    )


def _facts(facts: Any, file: Path) -> dict[str, Any]:
    """What state.json says, or a ValueError that names the file and the key."""
    if not isinstance(facts, dict):
        raise ValueError(f"{file}: holds no mapping of names; damaged")
    kinds: dict[str, Any] = {"step": int, "state": dict, "minutes": (int, float), "metrics_bytes": int}
    for key, kind in kinds.items():
        value = facts.get(key, 0 if key in ("minutes", "metrics_bytes") else None)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{file}: {key} is {value!r:.50}; damaged")
    if facts["step"] != int(file.parent.name[5:]):
        raise ValueError(f"{file}: is of step {facts['step']}, not of {file.parent.name}; damaged")
    return facts

"""Checkpoints on disk: each whole or absent, checked by digests, the newest good one first.

checkpoints/step_N/tensors.safetensors    weights, optimisers, random numbers
                   state.json             the rest, as JSON
                   shards/                what lies in parts on several processes: a file of each (`shards`)
and the digest of each beside it
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from embodkd.core.config.ranges import NotNegative, Whole
from embodkd.core.config.schema import conform
from embodkd.core.runs.digests import check_digest, write_digest
from embodkd.core.runs.files import atomic_folder, read_tensors, remove_folder, write_json, write_tensors
from embodkd.core.runs.reading import blamed, read_json

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_KEPT = 2
_TENSORS, _STATE, _SHARDS = "tensors.safetensors", "state.json", "shards"


class _Known(TypedDict):
    step: Whole
    state: dict[str, Any]


class _Stored(_Known, total=False):
    minutes: NotNegative
    metrics_bytes: Whole
    shards: list[str]


@dataclass(frozen=True)
class Checkpoint:
    """One saved state: `tensors` (arrays as arrays, tensors on the CPU) and the JSON `state`, at `step`.

    minutes: that the run had taken; metrics_bytes: how long metrics.jsonl was. shards: the folder of what is read in
    parts, if there is one.
    """

    step: int
    tensors: dict[str, Any]
    state: dict[str, Any]
    path: Path
    minutes: float = 0.0
    metrics_bytes: int = 0
    shards: Path | None = None


def write_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Tensor | np.ndarray],
    state: Mapping[str, Any],
    *,
    minutes: float,
    metrics_bytes: int,
    shards: Callable[[Path], object] | None = None,
) -> Path:
    """Write `folder`/step_N whole or not at all; the last two are kept. A failed write leaves the former one.

    shards: writes tensor files and their digests into the folder that it is called with.
    """
    path = folder / f"step_{step}"
    with atomic_folder(path) as aside:
        write_tensors(aside / _TENSORS, tensors)
        facts = {"step": step, "state": dict(state), "minutes": minutes, "metrics_bytes": metrics_bytes}
        if shards is not None:
            (aside / _SHARDS).mkdir()
            shards(aside / _SHARDS)
            facts["shards"] = sorted(file.name for file in (aside / _SHARDS).glob("*.safetensors"))
        write_json(aside / _STATE, facts)
        write_digest(aside / _STATE)
    for former in _folders(folder)[:-_KEPT]:
        remove_folder(former)
    return path


@contextmanager
def restoring(checkpoint: Checkpoint) -> Iterator[None]:
    """What the checkpoint holds is put back inside: a ValueError that names it where it does not fit."""
    try:
        yield
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{checkpoint.path}: does not fit this run ({type(error).__name__}: {str(error).strip():.300}); remove "
            "that folder to go on from the checkpoint before it, or resume with the config of that run"
        ) from error


def newest_checkpoint(folder: Path, form: Any = dict[str, Any]) -> Checkpoint | None:
    """The newest good checkpoint in `folder` whose state is as `form` wants it, None if there is none.

    A damaged one is skipped with a warning that names it and what is taken instead; ValueError if all are damaged.
    """
    folders = _folders(folder)
    complaints: list[str] = []
    for path in reversed(folders):
        try:
            found = _read(path, form)
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


def _read(path: Path, form: Any) -> Checkpoint:
    for name in (_STATE, _TENSORS):
        if not (path / name).is_file():
            raise ValueError(f"{path / name}: missing")
    check_digest(path / _STATE)
    facts = read_json(path / _STATE, _Stored)
    # raw, as it was written: a form that makes objects of it only looks
    with blamed(path / _STATE):
        conform(facts["state"], form, "state")
        if facts["step"] != int(path.name[5:]):
            raise ValueError(f"is of step {facts['step']}, not of {path.name}")
    for name in facts.get("shards", ()):
        check_digest(path / _SHARDS / name)
    tensors = read_tensors(path / _TENSORS)
    # versions before 0.1's last did not always tell the time
    return Checkpoint(
        facts["step"],
        tensors,
        facts["state"],
        path,
        facts.get("minutes", 0.0),
        facts.get("metrics_bytes", 0),
        path / _SHARDS if "shards" in facts else None,
    )

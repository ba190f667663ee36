"""The run folder: config, manifest, metrics and checkpoints of one run, safe against kills and full disks.

runs/<name>/config.yaml      what was asked for (resolved)
            manifest.json    git commit, versions, seed, device, command, minutes, peak memory
            metrics.jsonl    one line per `log`, plus tensorboard/ (and a tracker, if asked for) with the same numbers
            checkpoints/step_N/   tensors.safetensors + state.json (+ shards/), whole or absent
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from embodkd.core.ranks import launch, ranks, was_restarted
from embodkd.core.runs.checkpoint import Checkpoint, newest_checkpoint, write_checkpoint
from embodkd.core.runs.files import clear_os_error, sweep_leftovers, write_atomic, write_json
from embodkd.core.runs.finite import first_not_finite, no_checkpoint_of
from embodkd.core.runs.manifest import Manifest, git_commit, now, versions
from embodkd.core.runs.memory import out_of_memory, peak_memory
from embodkd.core.runs.metrics import read_metrics
from embodkd.core.runs.reading import read_json, read_yaml
from embodkd.core.runs.tracker import Trackers, check_tracker
from embodkd.core.runs.unbegun import ASKED, PREPARED, missing_folders, remove_unbegun

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class RunFolder:
    """A run on disk; open it with `RunFolder.open`, use it as a context manager."""

    def __init__(self, path: Path, lock: int | None, tracker: str | None = None) -> None:
        self.path = path
        self._lock = lock
        self._metrics: Any = None
        self._config: dict[str, Any] = {}
        self._tracker = tracker
        self._trackers: Trackers | None = None
        self._start = time.monotonic()
        self._minutes_before = 0.0
        self._minutes_in_all: float | None = None
        self._purge_step: int | None = None
        self._metrics_bytes = 0
        self._former: Mapping[str, Any] | None = None  # the manifest of a run that goes on and has done nothing yet
        self.before: Mapping[str, Any] = {}  # the manifest that was found, of a run that goes on
        self._furthest = 0
        self._made: list[Path] | None = None  # the folders made for a run that is new; None: it is not

    @classmethod
    def open(
        cls, path: str | Path, config: Mapping[str, Any], resume: bool = False, tracker: str | None = None
    ) -> RunFolder:
        """Create the folder, or with `resume` go on in an existing one (a missing one is created then too).

        As a context manager it leaves nothing behind where an error comes before anything was done in a new folder.
        tracker: one of `tracker.TRACKERS` that is told all that is logged too, under the folder's name; a resumed run
        goes on there as another run of that name.
        Of several ranks the first one owns the folder: the others get one that keeps nothing. A launch that torchrun
        has started again goes on in the folder that it made.
        Raises ValueError if another process holds it, if it has contents and `resume` is off, or if it was made
        with another config; OSError naming the path if it cannot be written; ImportError without the tracker.
        """
        path = Path(path)
        if not ranks().is_first:
            return _Follower(path)
        check_tracker(tracker)
        made, was_locked = missing_folders(path), (path / ".lock").exists()
        with clear_os_error(path, "create"):
            path.mkdir(parents=True, exist_ok=True)
        lock, former = _take_lock(path)
        run = cls(path, lock, tracker)
        try:
            run._prepare(_plain(config), resume or (was_restarted() and former == launch()), made)
            # Only now is the folder this launch's own: one that was refused to it must not be gone on with.
            os.write(lock, f"{launch() or ''}\n".encode())
        except BaseException as error:
            if not was_locked and run._made is None:
                (path / ".lock").unlink()  # a folder that is no run's, or another's, stays as it was
            run.__exit__(type(error), error, error.__traceback__)
            raise
        return run

    @property
    def minutes(self) -> float:
        """Minutes that the run has taken: this process since it opened the folder, and all before it.

        Of a process that was killed, the time to the checkpoint that the next one went on from. A run whose manifest
        says its `minutes` is finished and takes no more.
        """
        if self._minutes_in_all is not None:
            return self._minutes_in_all
        return self._minutes_before + (time.monotonic() - self._start) / 60

    def log(self, step: int, **scalars: float) -> None:
        """Append one line of scalars at `step` to metrics.jsonl, and tell the trackers; None or NaN is written as null.

        Its time_s are seconds of the whole run, as in `minutes`.
        """
        self._begin()
        self._furthest = max(self._furthest, int(step))
        row = {"step": int(step), "time_s": round(60 * self.minutes, 3)}
        row.update({k: _finite(v) for k, v in scalars.items()})
        with clear_os_error(self.path / "metrics.jsonl"):
            if self._metrics is None:
                # Open as long as the run is: a line per update must not cost an open and a close.
                self._metrics = open(self.path / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115
            self._metrics.write(json.dumps(row) + "\n")
            self._metrics.flush()
        if self._trackers is None:
            # Not before there is something to say: by now a trainer has set up its devices and processes.
            self._trackers = Trackers(self.path, self._tracker, self._config, self._purge_step)
        numbers = {k: v for k, v in row.items() if k not in ("step", "time_s") and isinstance(v, (int, float))}
        self._trackers.log(int(step), numbers)

    def metrics(self) -> list[dict[str, Any]]:
        """All lines logged so far, those that are about to be repeated left out."""
        self._begin()
        return read_metrics(self.path / "metrics.jsonl")

    def save_checkpoint(
        self,
        step: int,
        tensors: Mapping[str, Tensor | np.ndarray],
        state: Mapping[str, Any],
        shards: Callable[[Path], object] | None = None,
    ) -> Path:
        """Write checkpoints/step_N whole or not at all; the last two are kept. A failed save leaves the former one.

        shards: called with the folder for what every process writes its part of, see `shards.write_shards`.
        FloatingPointError that names the first of `tensors` that is not finite: nothing is written then.
        """
        bad = first_not_finite(tensors)
        if bad is not None:
            raise no_checkpoint_of(bad, int(step), self.path)
        self._begin()
        metrics = self.path / "metrics.jsonl"
        bytes_ = metrics.stat().st_size if metrics.exists() else 0
        return write_checkpoint(
            self._checkpoints, int(step), tensors, state, minutes=self.minutes, metrics_bytes=bytes_, shards=shards
        )

    def latest_checkpoint(self, form: Any = dict[str, Any]) -> Checkpoint | None:
        """The newest good checkpoint whose state is as `form` wants it, None if there is none.

        A damaged one is skipped with a warning that names it; ValueError if all are damaged.
        """
        return newest_checkpoint(self._checkpoints, form)

    def go_on(self, form: Any) -> Checkpoint | None:
        """`latest_checkpoint`, with clock and metrics put back to it: what came after it is about to be repeated."""
        newest = self.latest_checkpoint(form)
        self._goes_on_from(newest)
        return newest

    def note(self, **facts: Any) -> None:
        """Add facts to manifest.json (renderer, device, evaluation, ...)."""
        self._begin()
        write_json(self.path / "manifest.json", {**self.manifest(), **_plain(facts)})

    def manifest(self) -> dict[str, Any]:
        """The manifest as written so far."""
        self._begin()
        return read_json(self.path / "manifest.json", Manifest)

    def finish(self, **facts: Any) -> None:
        """Mark the run as finished in the manifest, with facts such as its `minutes=`; then close it.

        Of a run of several processes, `memory_mib` is that of the hungriest that finished it.
        """
        memory = max(peak_memory(), self.manifest().get("memory_mib", 0))
        self.note(finished=now(), memory_mib=memory, **facts)
        self.close()

    def close(self) -> None:
        """Flush, and let other processes in."""
        self._flush()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _flush(self) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if self._trackers is not None:
            self._trackers.close()
            self._trackers = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._made is not None and self._lock is not None:
            self._flush()
            # What steps before the first update made serves nobody where it is refused what follows them.
            refused = isinstance(error, (ValueError, ImportError)) or out_of_memory(error)
            remove_unbegun(self.path, self._made, PREPARED if refused and not self._furthest else ASKED)
        elif error is None and self._lock is not None:
            self._begin()
        self.close()

    def _prepare(self, config: dict[str, Any], resume: bool, made: list[Path]) -> None:
        import yaml

        self._config = _flat(config)
        contents = sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))
        file = self.path / "config.yaml"
        if contents and not resume:
            raise ValueError(
                f"{self.path}: already holds {', '.join(contents[:4])}; say resume=true to go on with it, "
                "choose another name, or remove it"
            )
        if contents and not file.exists():
            raise ValueError(f"{self.path}: has files but no config.yaml: not a run folder; choose another name")
        if contents:
            _same_config(self.path, read_yaml(file), config)
        else:
            self._made = made
            write_atomic(file, yaml.safe_dump(config, sort_keys=False))
        newest = self.latest_checkpoint()
        sweep_leftovers(self.path)
        sweep_leftovers(self._checkpoints)
        manifest = self.path / "manifest.json"
        self._former = read_json(manifest, Manifest) if os.path.lexists(manifest) else None
        if self._former is None:
            write_json(manifest, _manifest(config))
        else:
            self.before, self._minutes_in_all = self._former, self._former.get("minutes")
        read_metrics(self.path / "metrics.jsonl")
        self._goes_on_from(newest)

    def _goes_on_from(self, newest: Checkpoint | None) -> None:
        """Put the clock where this checkpoint was, and the rest as soon as something is done."""
        self._minutes_before = newest.minutes if newest else 0.0
        self._metrics_bytes = newest.metrics_bytes if newest else 0
        if (self.path / "metrics.jsonl").exists():
            self._purge_step = newest.step + 1 if newest else 0

    def _begin(self) -> None:
        """What is noted when a run goes on, before the first thing it does: one that is refused stays as it was."""
        if self._former is None:
            return
        former, self._former = self._former, None
        file = self.path / "metrics.jsonl"
        if file.exists():
            os.truncate(file, min(self._metrics_bytes, file.stat().st_size))
        self.note(resumed=[*former.get("resumed", []), now()])

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"


class _Follower(RunFolder):
    """The run folder as ranks after the first have it: it knows its place and its time, and keeps nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, None)

    def log(self, step: int, **scalars: float) -> None:
        """The first rank logs."""

    def save_checkpoint(self, step: int, *given: Any, **more: Any) -> Path:
        """The first rank saves; where it does."""
        return self.path / "checkpoints" / f"step_{int(step)}"

    def latest_checkpoint(self, form: Any = None) -> Checkpoint | None:
        """None: the first rank reads it and hands it on."""
        return None

    def go_on(self, form: Any) -> Checkpoint | None:
        """None, too."""
        return None

    def note(self, **facts: Any) -> None:
        """The first rank notes."""

    def finish(self, **facts: Any) -> None:
        """The first rank finishes."""


def _take_lock(path: Path) -> tuple[int, str]:
    """(the lock on a folder, the launch that owned it before: "" if that was not one by torchrun)."""
    file = path / ".lock"
    with clear_os_error(file, "create"):
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(handle, 32).decode(errors="replace").partition("\n")[0]
        os.close(handle)
        raise ValueError(
            f"{path}: another process (pid {owner or 'unknown'}) is writing to this run folder; "
            "wait for it, stop it, or choose another name"
        ) from error
    former = os.read(handle, 4096).decode(errors="replace").splitlines()
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle, former[1] if len(former) > 1 else ""


def _same_config(path: Path, stored: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    a, b = _flat(stored), _flat(config)
    # Whether and how loudly to go on is no part of what is computed.
    silent = ("resume", "quiet", "tracker")
    changed = sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k) and k not in silent)
    if changed:
        shown = "; ".join(f"{k}: {a.get(k)!r} there, {b.get(k)!r} here" for k in changed[:5])
        raise ValueError(f"{path}: was made with another config ({shown}); use the same, or another run name")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`."""
    if not isinstance(value, Mapping) or (prefix and not value):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _plain(value: Any) -> Any:
    """Mappings, sequences, paths and numbers as JSON and YAML know them, so that a config compares equal on resume."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.item() if hasattr(value, "item") else str(value)


def _finite(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    number = value.item() if hasattr(value, "item") else value
    return number if math.isfinite(number) else None


def _manifest(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "command": sys.argv,
        "started": now(),
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "versions": versions(),
        "seed": config.get("seed"),
        "device": str(config.get("device", "cpu")),
    }

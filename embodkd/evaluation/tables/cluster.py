"""The cells of a table as tasks of a Ray cluster.

A machine that sees the folder of the table (a disk that all share) works there as a process of this machine would: a
cell whose worker was killed goes on from its checkpoint on another. One that does not, or that finds a cell in the
hands of a process that is frozen, works in a folder of its own: what the cell reads travels there, what it leaves
travels back and is kept here. So a cell may be carried out twice, and nothing that is finished is made again.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embodkd.core.runs.portable import comes_through
from embodkd.evaluation.tables.held import Busy
from embodkd.evaluation.tables.packed import Packed, check_travels, pack, unpack
from embodkd.evaluation.tables.work import Work

PATIENCE_S = 30.0
"""How long a cell waits for another process that holds its folder, before it is made elsewhere."""
_RETRIES = 3
_MOST = 256


@dataclass(frozen=True)
class _Answer:
    """lacks: it needs what it reads to be sent along."""

    result: Any = None
    error: Exception | None = None
    left: Sequence[Packed] = ()
    lacks: bool = False


def _there(work: Work, item: Any, seen: Path, patience_s: float, sent: bool, *packed: Packed) -> _Answer:
    """Carry out `work` on whichever machine this is."""
    try:
        if seen.exists():
            try:
                return _Answer(work(item, patience_s=patience_s))
            except Busy:
                pass
        if not sent:
            return _Answer(lacks=True)
        with tempfile.TemporaryDirectory(prefix="embodkd-") as own:
            unpack(packed, Path(own))
            result = work(item, Path(own))
            return _Answer(result, left=pack(work.leaves(item), Path(own)))
    except Exception as error:
        return _Answer(error=_portable(error))


class Cluster(ThreadPoolExecutor):
    """Machines of Ray, as a pool: each call of `submit` waits in a thread of its own for what becomes of it."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        import ray

        super().__init__(_MOST)
        self._ray, self._patience_s = ray, patience_s
        self._task = ray.remote(max_retries=_RETRIES)(_there)
        self._sends = self._ended = False
        self._running: set[Any] = set()
        self._sent: dict[Path, Any] = {}
        self._seen: dict[Path, Path] = {}
        self._lock = threading.Lock()

    def width(self) -> int:
        """How many cells at a time: the cores that the machines have now."""
        return min(_MOST, max(1, int(self._ray.cluster_resources().get("CPU", 1))))

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As of any pool; `fn` is a Work and its argument an item."""
        return super().submit(self._carry_out, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of any pool; cells whose outcome nobody wants any more are interrupted, wherever they are."""
        if cancel_futures:
            with self._lock:
                self._ended, running = True, list(self._running)
            for task in running:
                self._ray.cancel(task)
        super().shutdown(wait, cancel_futures=cancel_futures)

    def forget(self) -> None:
        """Remove the files by which machines tell whether they see a folder of this one."""
        for file in self._seen.values():
            file.unlink(missing_ok=True)

    def _carry_out(self, work: Work, item: Any) -> Any:
        answer = self._ask(work, item, self._sends)
        if answer.lacks:
            self._sends = True
            answer = self._ask(work, item, True)
        if answer.left:
            unpack(answer.left, work.root)
        if answer.error is not None:
            raise answer.error
        return answer.result

    def _ask(self, work: Work, item: Any, sends: bool) -> _Answer:
        reads = work.reads(item) if sends else []
        if sends:
            check_travels([*reads, *work.leaves(item)], work.root)
        packed = [self._object(work.root, path) for path in reads]
        task = self._task.options(num_gpus=1 if work.on_gpu(item) else 0)
        with self._lock:
            if self._ended:
                raise CancelledError
            running = task.remote(work, item, self._token(work.place), self._patience_s, sends, *packed)
            self._running.add(running)
        try:
            answer: _Answer = self._ray.get(running)
        except self._ray.exceptions.TaskCancelledError as error:
            raise CancelledError from error
        except self._ray.exceptions.RayError as error:
            raise BrokenExecutor(f"its worker was lost, {_RETRIES + 1} times: {str(error).splitlines()[0]}") from error
        finally:
            with self._lock:
                self._running.discard(running)
        return answer

    def _object(self, root: Path, path: Path) -> Any:
        """What lies at `path`, put where machines fetch it from: once, however many cells ask."""
        with self._lock:
            if root / path not in self._sent:
                self._sent[root / path] = self._ray.put(*pack([path], root))
            return self._sent[root / path]

    def _token(self, place: Path) -> Path:
        """A file in `place` with a name that no other folder has."""
        if place not in self._seen:
            place.mkdir(parents=True, exist_ok=True)
            self._seen[place] = place / f".seen-{secrets.token_hex(8)}"
            self._seen[place].touch()
        return self._seen[place]


@contextmanager
def cluster(address: str) -> Iterator[Cluster]:
    """The cluster at an `address` of Ray's: "auto", HOST:PORT, ray://HOST:PORT, or "local", which starts one here."""
    with _joined(address), Cluster() as machines:
        try:
            yield machines
        except BaseException:
            machines.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            machines.forget()


@contextmanager
def _joined(address: str) -> Iterator[None]:
    own = {"RAY_USAGE_STATS_ENABLED": "0"}
    here: dict[str, Any] = {}
    if address == "local":
        # Ray listens on every interface: only who knows this word gets in. Its workers would be nicer than we.
        own |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_worker_niceness": "0"}
        here = {"num_cpus": len(os.sched_getaffinity(0)), "_node_ip_address": "127.0.0.2", "include_dashboard": False}
    own = {key: value for key, value in own.items() if key not in os.environ}
    os.environ.update(own)
    try:
        ray = _ray(address, here)
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        for key in own:
            os.environ.pop(key, None)


def _ray(address: str, here: Mapping[str, Any]) -> Any:
    # Left to itself, Ray would end this process at once on SIGTERM.
    asked_to_end = signal.getsignal(signal.SIGTERM)
    try:
        import ray

        ray.init(address, log_to_driver=False, logging_level="ERROR", **here)
    except ModuleNotFoundError as error:
        raise ImportError("jobs: a cluster needs Ray, which is missing: pip install 'embodkd[ray]'") from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"jobs: no cluster of Ray at {address}: {reason}; jobs=ray starts one here") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, asked_to_end)
    return ray


def _portable(error: Exception) -> Exception:
    """`error`, or its words where it cannot be rebuilt on another machine."""
    return error if comes_through(error) else RuntimeError(f"{type(error).__name__}: {error}")

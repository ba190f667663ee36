"""Which of several processes this is, and what it does together with the others.

`torchrun` starts one command several times; each process finds its number, its rank, in the environment. All ranks run
the same program on their shares of the work. The first one owns what there is only once: run folder, tracker, terminal.
Importing this costs nothing: torch comes with the first thing that the ranks do together.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Items = TypeVar("Items", bound="Sequence[Any] | np.ndarray")

# One rank may work for hours while the others wait (a step without gradients); one that died is noticed at once.
_PATIENCE = timedelta(days=7)
_LAUNCHER = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME",
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
_as: ContextVar[Ranks | None] = ContextVar("as", default=None)
_store: Any = None
_reports = 0


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `size` that work together; `size` is 1 within `alone()`, `rank` stays.

    `broadcast`, `gather`, `wait` and `first_does` are calls that every rank must make, in the same order.
    """

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this process owns the run folder and the terminal."""
        return self.rank == 0

    def share(self, items: Items) -> Items:
        """This rank's part of `items` (a list, an array): every size-th one, so that all parts together are all."""
        return items if self.size == 1 else items[self.rank :: self.size]  # type: ignore[return-value]

    def merged(self, share: Sequence[T]) -> list[T]:
        """All items in their order, on every rank, from what each made of its `share` of them."""
        parts = self.gather(list(share))
        merged: list[Any] = [None] * sum(map(len, parts))
        for rank, part in enumerate(parts):
            merged[rank :: len(parts)] = part
        return merged

    def split(self, count: int, what: str) -> int:
        """How many of `count` equal things are this rank's; ValueError naming `what` if there are fewer than ranks."""
        if count < self.size:
            raise ValueError(
                f"{what}: {count} cannot be shared out among {self.size} processes; raise it or start fewer"
            )
        return count // self.size + (self.size > 1 and self.rank < count % self.size)

    def broadcast(self, value: T) -> T:
        """The first rank's `value`, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        join().broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """The values of all ranks in their order, on every rank."""
        if self.size == 1:
            return [value]
        box: list[Any] = [None] * self.size
        join().all_gather_object(box, value)
        return box

    def wait(self) -> None:
        """Go on when every rank is here."""
        self.gather(None)

    def first_does(self, action: Callable[[], object]) -> None:
        """The first rank calls `action`; the others go on when it is done, and then see the files that it wrote."""
        if self.is_first:
            action()
        self.wait()


def ranks() -> Ranks:
    """Who this process is; the only one where nobody has started several."""
    chosen = _as.get()
    if chosen is not None:
        return chosen
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        rank, size = distributed.get_rank(), distributed.get_world_size()
    elif was_launched():
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    else:
        rank, size = 0, 1
    return Ranks(rank, size)


def was_launched() -> bool:
    """Whether a launcher started this process, be it as the only one."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


@contextmanager
def alone() -> Iterator[None]:
    """Inside, this process shares out nothing and waits for nobody; who owns folder and terminal stays the same."""
    token = _as.set(Ranks(ranks().rank, 1))
    try:
        yield
    finally:
        _as.reset(token)


def join() -> Any:
    """`torch.distributed`, where all ranks have met: the first call waits for them.

    Raises ValueError where the launcher did not say where to meet.
    """
    global _store
    import torch
    import torch.distributed as distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if not distributed.is_initialized():
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
        if missing:
            raise ValueError(
                f"RANK and WORLD_SIZE are set but not {' and '.join(missing)}: start processes by torchrun"
            )
        store, rank, size = next(iter(rendezvous("env://")))
        # torchrun keeps the store when it restarts the ranks, and with it the addresses of those that are gone.
        _store = PrefixStore(f"attempt_{_restarts()}", store)
        # What lies in memory goes through gloo, what lies on a card through NCCL where torch has it.
        cards = torch.cuda.is_available() and distributed.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if cards else "gloo"
        distributed.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=_PATIENCE)
        atexit.register(_leave)
    return distributed


@contextmanager
def without_launcher() -> Iterator[None]:
    """As `alone`, for the processes that are started inside too: the environment does not speak of others."""
    with alone():
        own = [name for name in os.environ if name in _LAUNCHER or name.startswith("TORCHELASTIC_")]
        hidden = {name: os.environ.pop(name) for name in own}
        try:
            yield
        finally:
            os.environ.update(hidden)


def may_report() -> bool:
    """Whether this rank may say why the run ends: the first that asks, so that it is said once and by who knows why.

    Before the ranks have met, all of them find the same fault, and the first one says it.
    """
    global _reports
    if _store is None or ranks().size == 1:
        return ranks().is_first
    _reports += 1  # a process may go through several commands
    try:
        return bool(_store.add(f"report_{_reports}", 1) == 1)
    except RuntimeError:
        return True  # who kept the store is gone: better twice than never


def is_loss_of_a_rank(error: BaseException) -> bool:
    """Whether `error` is what a call to the others raises when one of them is gone."""
    words = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe")
    return isinstance(error, RuntimeError) and ranks().size > 1 and any(word in str(error).lower() for word in words)


def launch() -> str | None:
    """Names the launch that this process belongs to, the same one through torchrun's own restarts; None without it."""
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if run is None else f"{socket.gethostname()}:{os.getppid()}:{run}"


def was_restarted() -> bool:
    """Whether torchrun has started the ranks again after one of them was lost."""
    return _restarts() > 0


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))


def _leave() -> None:
    # A group that is still open when Python ends may abort the process after all work is done.
    import torch.distributed as distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()

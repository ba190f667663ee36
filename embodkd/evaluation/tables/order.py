"""Work that must be done in an order, as much of it side by side as that allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, TypeVar

Item = TypeVar("Item")


def in_order(
    todo: Mapping[str, Item],
    after: Callable[[Item], Iterable[str]],
    make: Callable[[Item], Any],
    pool: Executor,
    width: Callable[[], int],
    done: Callable[[str, Any], None],
    failed: Callable[[str, Exception], None],
) -> int:
    """Give every item to `make` in `pool`, at most `width()` at a time; how many failed.

    The first first; side by side those first that others wait for, so that nobody waits for them at the end. An item
    for those of `todo` that it comes after. done(name, result) and failed(name, error) are called here, one at a
    time. A failure holds up only what comes after it, which counts as failed, too; an error in `failed` itself ends
    everything.
    """
    waiting, lost = dict(todo), set[str]()
    if width() > 1:
        asked = {name for item in todo.values() for name in after(item)}
        waiting = dict(sorted(todo.items(), key=lambda entry: entry[0] not in asked))
    running: dict[Future[Any], str] = {}

    def ready() -> str | None:
        busy = {*waiting, *running.values()}
        return next((name for name, item in waiting.items() if not busy & set(after(item))), None)

    try:
        while waiting or running:
            while len(running) < width() and (name := ready()) is not None:
                item = waiting.pop(name)
                if lost & set(after(item)):
                    lost.add(name)
                else:
                    running[pool.submit(make, item)] = name
            finished, _ = wait(running, return_when=FIRST_COMPLETED) if running else ((), ())
            for future in finished:
                name = running.pop(future)
                error = future.exception()
                if error is None:
                    done(name, future.result())
                elif isinstance(error, Exception):
                    lost.add(name)
                    failed(name, error)
                else:
                    raise error
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return len(lost)

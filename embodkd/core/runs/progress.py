"""Progress with an estimate of the time left: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from embodkd.core.ranks import ranks
from embodkd.core.runs.bar import Bar

_STROKE_S = 0.1


def progress(total: float, label: str, *, done: float = 0.0, every_s: float = 15.0, quiet: bool = False) -> Progress:
    """A progress display for `total` units of work called `label`; use it as a context manager.

    `done`: units already done (after a resume); they do not count for the estimate. Where no bar can be drawn (a pipe,
    TERM=dumb, a process in the background) a plain line is printed at most every `every_s` seconds, so a log stays
    readable; `quiet` shows nothing. Of several ranks the first one shows its own, which stands for all.
    """
    return Progress(total, label, done=done, every_s=every_s, quiet=quiet or not ranks().is_first)


def duration(seconds: float) -> str:
    """`75.2` -> `"1m15s"`: short, for people."""
    seconds = max(0, int(round(seconds)))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


class Progress:
    """See `progress`. `advance(units, **scalars)` moves it; scalars are shown beside the bar."""

    def __init__(self, total: float, label: str, *, done: float, every_s: float, quiet: bool) -> None:
        self.total, self.label, self.done = float(total), label, float(done)
        self._start, self._start_done, self._every_s = time.monotonic(), float(done), every_s
        self._scalars: dict[str, Any] = {}
        self._quiet = quiet
        self._shown = self._start
        self._bar = Bar()

    def __enter__(self) -> Progress:
        if not self._quiet and self._bar.may_draw:
            self._draw()
        return self

    def advance(self, units: float = 1.0, **scalars: float | str) -> None:
        """Count `units` more as done; keep `scalars` on display until they are given anew."""
        self.done += units
        self._scalars.update(scalars)
        since = time.monotonic() - self._shown
        if self._quiet or since < min(_STROKE_S, self._every_s):
            return
        if self._bar.may_draw:
            self._draw()
            return
        self._bar.leave()
        if since >= self._every_s:
            self._line()

    def eta_s(self) -> float | None:
        """Seconds left at the pace so far; None before the first unit."""
        fresh = self.done - self._start_done
        if fresh <= 0:
            return None
        return max(0.0, self.total - self.done) * (time.monotonic() - self._start) / fresh

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._quiet:
            return
        if self._bar.may_draw:
            self._draw()
            self._bar.stop()
            return
        self._bar.leave()
        if kind is None:
            self._line()

    @property
    def _share(self) -> float:
        """Of 1, which it never exceeds: a last step may do more than was asked for."""
        return min(1.0, self.done / self.total) if self.total else 1.0

    def _spell(self) -> str:
        return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in self._scalars.items())

    def _spent(self) -> str:
        return f"in {duration(time.monotonic() - self._start)}"

    def _left(self) -> str:
        left = self.eta_s()
        return "" if left is None or self.done >= self.total else f"{duration(left)} left"

    def _draw(self) -> None:
        self._shown = time.monotonic()
        self._bar.draw(self.label, self._share, self._left() or self._spent(), self._spell())

    def _line(self) -> None:
        self._shown = time.monotonic()
        times = ", ".join(filter(None, (self._spent(), self._left())))
        line = f"{self.label}: {100 * self._share:3.0f}% {times}  {self._spell()}".rstrip()
        print(line, file=sys.stderr, flush=True)

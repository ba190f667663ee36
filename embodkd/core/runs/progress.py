"""Progress with an estimate of the time left: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from embodkd.core.ranks import ranks


def progress(total: float, label: str, *, done: float = 0.0, every_s: float = 15.0, quiet: bool = False) -> Progress:
    """A progress display for `total` units of work called `label`; use it as a context manager.

    `done`: units already done (after a resume); they do not count for the estimate. On a non-terminal a plain line
    is printed at most every `every_s` seconds, so a log stays readable; `quiet` shows nothing. Of several ranks the
    first one shows its own, which stands for all.
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
        self._last_line = self._start
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr.isatty():
            # rich costs 50 ms to import: only where somebody watches.
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[scalars]}"),
            )
            self._bar = Bar(*columns, console=Console(file=sys.stderr), transient=False)
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, completed=self.done, scalars="")
        return self

    def advance(self, units: float = 1.0, **scalars: float | str) -> None:
        """Count `units` more as done; keep `scalars` on display until they are given anew."""
        self.done += units
        self._scalars.update(scalars)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, scalars=self._spell())
        elif not self._quiet and time.monotonic() - self._last_line >= self._every_s:
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
        if self._bar is not None:
            self._bar.stop()
        elif not self._quiet and kind is None:
            self._line()

    def _spell(self) -> str:
        return "  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in self._scalars.items())

    def _line(self) -> None:
        self._last_line = time.monotonic()
        share = 100.0 * self.done / self.total if self.total else 100.0
        left = self.eta_s()
        spent = duration(self._last_line - self._start)
        time_left = "" if left is None or self.done >= self.total else f", {duration(left)} left"
        line = f"{self.label}: {share:3.0f}% in {spent}{time_left}  {self._spell()}".rstrip()
        print(line, file=sys.stderr, flush=True)

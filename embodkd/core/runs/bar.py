"""A bar at the foot of the terminal, for the process that is in its foreground."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.live import Live

# Columns below which only percent and time left are shown beside the label, and those of the bar itself.
_NARROW = 60
_SHORTEST, _LONGEST = 10, 40


class Bar:
    """One line of stderr that is drawn over and over; it costs nothing before `draw`.

    Two processes that draw in one terminal wipe out each other's lines, so `may_draw` is asked before each stroke: who
    was put into the background while it ran calls `leave`.
    """

    def __init__(self) -> None:
        self._live: Live | None = None

    @property
    def may_draw(self) -> bool:
        """Whether stderr is a terminal that can go back in a line, and this process the one in its foreground."""
        if not sys.stderr.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
            return False
        try:
            return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
        except OSError:
            return True  # not the terminal that this process was started from: it has no foreground to speak of

    def draw(self, label: str, share: float, time: str, scalars: str) -> None:
        """Show `share` of 1 as percent and as a bar, a `time` beside it, and `scalars`: what there is room for."""
        # rich costs 50 ms to import: only where somebody watches.
        from rich.console import Console
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self._live is None:
            # Without a thread that draws by itself: it would go on to do so in the background.
            self._live = Live(console=Console(file=sys.stderr, force_terminal=True), auto_refresh=False)
            self._live.start()
        facts = f"{100 * share:3.0f}% {time}"
        label, length, scalars = fitted(self._live.console.width, label, facts, scalars)
        cells = (
            Text(label),
            ProgressBar(total=1.0, completed=share, width=length) if length else None,
            Text(facts),
            Text(scalars) if scalars else None,
        )
        row = Table.grid(padding=(0, 1))
        row.add_row(*(cell for cell in cells if cell is not None))
        self._live.update(row, refresh=True)

    def stop(self) -> None:
        """Let the line stand as it was last drawn."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def leave(self) -> None:
        """Stop without a stroke: the foot of the terminal belongs to somebody else by now."""
        if self._live is not None:
            self._live.console.show_cursor(True)
            self._live.console.quiet = True
            self.stop()


def fitted(width: int, label: str, facts: str, scalars: str) -> tuple[str, int, str]:
    """What a line of `width` has room for beside `facts`: of the label, columns of a bar or 0, the scalars or ""."""
    label = label[: max(0, width - len(facts) - 1)]
    if width < _NARROW:
        return label, 0, ""
    # each part stands one column apart from the next
    room = width - len(f"{label} {facts}")
    if len(f" {scalars}") > room:
        scalars = ""
    elif scalars:
        room -= len(f" {scalars}")
    return label, min(room - 1, _LONGEST) if room > _SHORTEST else 0, scalars

"""The bar on real terminals: wide and narrow ones, dumb ones, and for processes in the background."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from embodkd.core.runs.bar import fitted

BEGIN = """
import fcntl, os, signal, subprocess, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
from embodkd.core.runs.progress import progress
"""
QUARTER = """
with progress(4, "distil", every_s=0.0) as shown:
    shown.advance(1, loss=0.25)
"""
THERE_AND_BACK = """
other = subprocess.Popen(["sleep", "60"], process_group=0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
with progress(4, "distil", every_s=0.0) as shown:
    shown.advance()
    os.write(2, b"|")
    os.tcsetpgrp(2, other.pid)
    shown.advance()
    shown.advance()
    os.write(2, b"|")
    os.tcsetpgrp(2, os.getpgrp())
    shown.advance()
other.kill()
"""
BEHIND = """
other = subprocess.Popen(["sleep", "60"], process_group=0)
os.tcsetpgrp(2, other.pid)
with progress(4, "distil", every_s=0.0) as shown:
    shown.advance()
other.kill()
"""


def on_terminal(script, columns=80, term="xterm"):
    """What a process writes to the terminal that it was started from, which is so wide."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    ends = {"stdin": slave, "stdout": slave, "stderr": slave, "start_new_session": True}
    environment = {**kept, "TERM": term, "PYTHONUTF8": "1"}
    child = subprocess.Popen([sys.executable, "-c", BEGIN + script], env=environment, **ends)
    os.close(slave)
    said = b""
    try:
        while piece := os.read(master, 4096):
            said += piece
    except OSError:
        pass  # how Linux says that nobody has the other end any more
    finally:
        os.close(master)
    assert child.wait(timeout=30) == 0, said.decode()
    return said.decode()


def rows(said):
    """What stood in a terminal's rows, without colours and strokes of the cursor."""
    return [row for row in re.split(r"[\r\n]+", re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", said)) if row]


def test_a_terminal_shows_bar_percent_time_left_and_scalars():
    said = rows(on_terminal(QUARTER))
    assert all(re.fullmatch(r"distil ━*[╸╺]?━* +\d+% (0s left|in 0s) *(loss 0\.25)? *", row) for row in said), said
    assert said[-1].count("━") > 30 and "25% 0s left loss 0.25" in said[-1] and len(said[-1]) <= 80


def test_forty_columns_keep_percent_and_time_left():
    said = rows(on_terminal(QUARTER, columns=40))
    assert {row.rstrip() for row in said} == {"distil   0% in 0s", "distil  25% 0s left"}


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_go_back_gets_lines(term):
    line = "distil:  25% in 0s, 0s left  loss 0.25\r\n"
    assert on_terminal(QUARTER, term=term) == 2 * line


def test_quiet_writes_nothing_to_a_terminal():
    assert on_terminal(QUARTER.replace("every_s", "quiet=True, every_s")) == ""


def test_who_is_put_into_the_background_writes_lines_until_it_is_back():
    before, behind, back = on_terminal(THERE_AND_BACK).split("|")
    assert "━" in before and "25%" in before
    show_cursor = "\x1b[?25h"
    assert behind == show_cursor + "distil:  50% in 0s, 0s left\r\ndistil:  75% in 0s, 0s left\r\n"
    assert "━" in back and "100% in 0s" in back


def test_who_starts_in_the_background_writes_lines():
    said = on_terminal(BEHIND)
    assert said == 2 * "distil:  25% in 0s, 0s left\r\n"


@pytest.mark.parametrize("label", ["distil", "evaluating round_table_lite", "reproduce " + 60 * "x"])
@pytest.mark.parametrize("scalars", ["", "loss 0.25", "reward 0.1234  success 0.5", 90 * "x"])
def test_no_line_is_wider_than_its_terminal_and_facts_always_fit(label, scalars):
    facts = " 25% 1h23m left"
    for width in range(len(facts) + 2, 200):
        shown, length, numbers = fitted(width, label, facts, scalars)
        line = " ".join([shown, *["-" * length] * bool(length), facts, *[numbers] * bool(numbers)])
        assert len(line) <= width and label.startswith(shown)
        assert numbers in ("", scalars) and (length == 0 or 10 <= length <= 40)
        if width >= 60 and len(f"{label} {facts} {scalars}") <= width:
            assert (shown, numbers) == (label, scalars)


def test_a_wide_terminal_has_room_for_everything():
    assert fitted(120, "distil", " 25% 3s left", "loss 0.25") == ("distil", 40, "loss 0.25")

"""What all tests share: one thread per library, and the command line called in this process."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Before numpy and torch start their pools: tests run side by side on few cores, and small matrices are slower on two.
os.environ["OMP_NUM_THREADS"] = "1"
# As the command line does, for the verbs that take a thread per core.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import pytest
from hypothesis import settings

# A shell starts what it runs in the background with SIGINT ignored; the tests send it to themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests kill processes, never the machine: what is written is there without waiting for the disk, thousands of times.
os.fsync = lambda handle: None

# A worker holds a million objects of imported modules; looking through them for circles took an eighth of its time.
gc.set_threshold(50_000, 20, 50)

# What lands is decided by the same examples every time; `make fuzz` looks for new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=3000, deadline=None)
settings.load_profile("fixed")


def _one_thread() -> None:
    """A verb may ask for one thread per core: what follows shall not wait for them, hundreds of times as long."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_afterwards() -> Iterator[None]:
    """Whatever a test asked for, the next one begins with one thread."""
    yield
    _one_thread()


@dataclass(frozen=True)
class Answer:
    """Exit code and texts of one command."""

    code: int
    out: str
    err: str


@pytest.fixture
def embodkd(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    """`embodkd("evaluate", "policy=x")` runs the command in an empty folder and returns its answer."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Answer:
        from embodkd.cli import main

        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        _one_thread()
        return Answer(code, said.out, said.err)

    return call


@pytest.fixture
def count_case(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """`count_case("kills of trainings", 5)`: so many faults of a kind were tried; the totals are printed at the end."""

    def count(kind: str, number: int = 1) -> None:
        record_property(f"{_TRIED}{kind}", number)

    return count


_TRIED = "faults tried: "


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # Properties travel with the reports, from xdist's processes too.
    reports = [r for found in terminalreporter.stats.values() for r in found if getattr(r, "when", None) == "call"]
    tried: Counter[str] = Counter()
    for name, number in (pair for report in reports for pair in report.user_properties):
        if name.startswith(_TRIED):
            tried[name.removeprefix(_TRIED)] += number
    if tried:
        terminalreporter.section("faults tried")
        for kind, number in sorted(tried.items()):
            terminalreporter.write_line(f"{number:6d}  {kind}")
        terminalreporter.write_line(f"{tried.total():6d}  in all")

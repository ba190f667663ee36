"""Counts what was tried: `counted("kills of methods", 5)`; they are printed at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from places import Places

_COUNTS: Counter[str] = Counter()


@pytest.fixture
def counted() -> Iterator[Callable[[str, int], None]]:
    def add(what: str, number: int = 1) -> None:
        _COUNTS[what] += number

    yield add


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _COUNTS:
        terminalreporter.section("faults tried")
        for what, number in sorted(_COUNTS.items()):
            terminalreporter.write_line(f"{number:6d}  {what}")
        terminalreporter.write_line(f"{_COUNTS.total():6d}  in all")

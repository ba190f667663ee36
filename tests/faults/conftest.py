"""What faults are done to, and how many of which kind were."""

from __future__ import annotations

from collections import Counter

import pytest
from places import Places


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [r for found in terminalreporter.stats.values() for r in found if getattr(r, "when", None) == "call"]
    for kind in ("file", "fault", "verb"):
        tried = Counter(
            value for report in reports for name, value in report.user_properties if name == f"case: {kind}"
        )
        if tried:
            terminalreporter.section(f"cases by {kind}")
            for name, number in sorted(tried.items()):
                terminalreporter.write_line(f"{number:6d}  {name}")

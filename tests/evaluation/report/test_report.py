"""The report is one file that asks nothing of the network and shows what is in the run folder."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_runs import a_demo

from embodkd.evaluation.report import charts, write_report
from embodkd.evaluation.report.series import line

VOID = {"meta", "br", "hr", "line", "circle", "polyline", "polygon", "rect", "img"}


class _Page(HTMLParser):
    """Collects tags and texts, and whatever points elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "poster", "data", "action")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None: ...

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(a_demo(tmp_path_factory.mktemp("demo"))).read_text(encoding="utf-8")


def test_nothing_in_the_page_points_outside_of_it(page: str) -> None:
    parsed = _Page()
    parsed.feed(page)
    assert parsed.open == []
    assert parsed.links and all(link.startswith("data:") for link in parsed.links)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link", re.sub(r"base64,[^\"]*", "", page))


def test_the_page_shows_rates_intervals_marks_videos_commands_and_verdicts(page: str) -> None:
    parsed = _Page()
    parsed.feed(page)
    for expected in (
        "Student", "Blind twin", "100 %", "96.3 % to 100 %", "privileged", "deployable", "better", "eye",
        "embodkd train teacher task=coin", "numpy " + np.__version__, "another episode", "videos/side.mp4",
    ):  # fmt: skip
        assert expected in parsed.text.replace("\u00a0", " "), expected
    assert page.count("data:video/mp4;base64,") == 1
    assert "<b>not bold</b>" not in page
    assert "/somewhere" not in page


def test_a_single_run_has_a_report_too_and_missing_parts_are_left_out(tmp_path: Path) -> None:
    a_demo(tmp_path)
    single = tmp_path / "teacher"
    (single / "evaluation.json").unlink()
    text = write_report(single, tmp_path / "elsewhere" / "r.html").read_text(encoding="utf-8")
    assert "Not evaluated yet" in text and "How it was made" in text
    assert "In motion" not in text and "Why episodes fail" not in text


def test_a_folder_without_runs_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        write_report(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        write_report(tmp_path / "nowhere")


def test_a_curve_spans_its_plot_and_ends_at_its_last_value() -> None:
    one = line("a", "--c0", [[(0, 0.0), (50, 1.0), (100, 0.5)]], (0.0, 1.0), 300)
    assert one is not None
    svg = charts.curve([one], title="a", x_label="steps", y_label="share", share=True)
    points = re.search(r'polyline class="line" points="([^"]*)"', svg)
    assert points is not None
    (x0, y0), (_, y1), (x2, y2) = (tuple(map(float, p.split(","))) for p in points[1].split())
    assert x0 < x2 and y1 < y2 < y0  # y runs downwards
    assert line("a", "--c0", [[(0, 1.0)]], (0.0, 1.0), 300) is None
    assert charts.curve([], title="a", x_label="steps", y_label="share") == ""


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (3.0, 3.0), (-1e-5, 2e-5), (0.0, 262144.0), (-40.0, 117.0)])
def test_ticks_are_few_and_cover_the_range(low: float, high: float) -> None:
    ticks = charts._ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= low + 1e-12 and ticks[-1] >= high - 1e-12

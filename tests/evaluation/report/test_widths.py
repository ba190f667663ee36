"""The page in a browser: on a phone, on a screen, on paper, sorted and filtered, and by the rules of axe-core."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from browser import AXE, BROWSER, ask, on_paper
from report_runs import a_demo, a_run, a_study

from embodkd.evaluation.report import write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NAMES = ("one", "three", "forty", "mixed")
WIDTHS = (360, 800, 1400)


@pytest.fixture(scope="module", autouse=True)
def there() -> None:
    assert BROWSER, "no browser: apt-get install chromium"
    assert shutil.which("pdftotext"), "no pdftotext: apt-get install poppler-utils"
    assert AXE.is_file(), f"no {AXE}: `make browser` installs it, or set AXE to axe-core's axe.min.js"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    a_run(root / "one/teacher", 90, reads={"proprio": False, "privileged": True})
    a_demo(root / "three")
    for n in range(40):
        a_run(root / f"forty/depth_cnn_peg_hole_run_{n}", (30 * n) % 97, points=1000, losses={700: 1e6})
    students = {f"student={name},seed={seed}": 50 + seed for name in ("depth_cnn", "blind") for seed in range(3)}
    a_study(root / "mixed/students", students)
    a_study(root / "mixed/teacher_peg_hole", {f"seed={n}": 90 + n for n in range(5)})
    a_run(root / "mixed/pick", 5, task="pick_lift")
    a_run(root / "mixed/unjudged", None)
    for name in NAMES:
        (root / f"{name}_page").mkdir()
    return {name: write_report(root / name, root / f"{name}_page/page.html") for name in NAMES}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wider_than_the_screen_and_axes_can_be_read(pages: dict[str, Path], name: str, width: int) -> None:
    found = ask(
        pages[name],
        width,
        """
        const over = [];
        for (const card of document.querySelectorAll(".card")) {
          const edge = card.getBoundingClientRect().right + 1;
          for (const part of card.querySelectorAll("*"))
            if (!part.closest(".scroll > *") && part.getBoundingClientRect().right > edge) over.push(part.outerHTML);
        }
        const ticks = [...document.querySelectorAll(".tick")].filter(tick => tick.getClientRects().length);
        return {
          over: over.map(html => html.slice(0, 200)),
          beside: document.documentElement.scrollWidth - innerWidth,
          letters: ticks.map(tick => parseFloat(getComputedStyle(tick).fontSize) * tick.getScreenCTM().a),
          folded: [...document.querySelectorAll(".scroll table")].map(table => table.offsetHeight),
        };
        """,
    )
    assert found["over"] == [] and found["beside"] <= 0
    assert found["letters"] and min(found["letters"]) >= 10
    assert max(found["folded"], default=0) < (2200 if width == 360 else 1300)


@pytest.mark.parametrize("width", (360, 1400))
def test_what_scrolls_can_be_reached_by_keyboard_and_keeps_its_first_column(pages: dict[str, Path], width: int) -> None:
    found = ask(
        pages["forty"],
        width,
        """
        const box = document.querySelector(".scroll"), first = box.querySelector("tbody th");
        const before = first.getBoundingClientRect().left;
        box.focus();
        box.scrollLeft = 60;
        return {
          scrolls: box.scrollWidth > box.clientWidth,
          focused: document.activeElement === box,
          moved: box.scrollLeft,
          stays: Math.abs(first.getBoundingClientRect().left - before) < 1,
        };
        """,
    )
    assert found["focused"] and found["stays"]
    assert found["scrolls"] is (width == 360) and (found["moved"] > 0) is (width == 360)


def test_the_table_sorts_filters_and_unfolds_under_the_page_s_own_policy(pages: dict[str, Path]) -> None:
    found = ask(
        pages["forty"],
        1400,
        """
        const table = document.querySelector("table.sorts"), card = table.closest(".card");
        const rows = () => [...table.tBodies[0].rows].filter(row => !row.hidden);
        const column = n => rows().map(row => row.cells[n].textContent.trim());
        const head = n => table.tHead.rows[0].cells[n].querySelector("button");
        const found = { folded: rows().length, first: column(0) };
        head(1).click();
        found.up = column(1);
        found.said = table.tHead.rows[0].cells[1].getAttribute("aria-sort");
        head(1).click();
        found.down = column(1);
        head(0).click();
        card.querySelector("button.all").click();
        found.all = column(0);
        const field = card.querySelector("input");
        field.value = "run_3";
        field.dispatchEvent(new Event("input"));
        found.filtered = column(0);
        return found;
        """,
    )
    rates = [[float(text.rstrip("\u00a0%")) for text in found[way]] for way in ("up", "down")]
    assert found["folded"] == 20 and found["first"] == [f"run_{n}" for n in range(20)]
    assert rates[0] == sorted(rates[0]) and rates[1] == sorted(rates[1], reverse=True) and found["said"] == "ascending"
    assert found["all"] == [f"run_{n}" for n in range(40)]
    assert found["filtered"] == ["run_3", *(f"run_{n}" for n in range(30, 40))]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", (360, 1400))
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing_serious(pages: dict[str, Path], name: str, width: int, dark: bool) -> None:
    library = AXE.read_text(encoding="utf-8")
    script = """
        for (const closed of document.querySelectorAll("details")) closed.open = true;
        const { violations, passes } = await axe.run(document, { resultTypes: ["violations"] });
        const dark = matchMedia("(prefers-color-scheme: dark)").matches;
        return { dark, checked: passes.length, violations: violations.map(v =>
          [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 200), v.nodes[0].failureSummary]) };
    """
    found = ask(pages[name], width, script, library, dark)
    assert found["checked"] > 15 and found["dark"] is dark
    assert [one for one in found["violations"] if one[0] in ("serious", "critical")] == []


@pytest.mark.parametrize("name", NAMES)
def test_on_paper_commands_are_whole_and_no_heading_stands_alone_at_the_foot(pages: dict[str, Path], name: str) -> None:
    sheets = on_paper(pages[name])
    html = pages[name].read_text(encoding="utf-8")
    headings = set(re.findall(r"<h[1-4][^>]*>([^<]+)", html))
    assert [sheet[-1] for sheet in sheets if sheet[-1] in headings] == []
    text = " ".join(" ".join(line for sheet in sheets for line in sheet).split())
    commands = re.findall(r"<pre>(embodkd [^<]*)</pre>", html)
    printed = text.replace(" ", "")
    assert commands and all(command.replace(" ", "") in printed for command in commands)
    assert "Show all" not in text and "Filter rows" not in text
    if name == "three":
        assert "its first frame" in text
    if name == "forty":
        assert all(f"run_{n}" in text for n in range(40))

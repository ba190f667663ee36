"""What a page holds for whoever cannot see it, has no script, prints it, or has little room."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_runs import a_demo, a_run, a_study

from embodkd.evaluation.report import write_report


class Outline(HTMLParser):
    """Headings, tables and pictures of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.heads: list[dict[str, str | None]] = []
        self.unnamed: list[str] = []
        self.tables = self.captions = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if re.fullmatch(r"h\d", tag):
            self.levels.append(int(tag[1]))
        if tag == "th":
            self.heads.append(given)
        named = given.get("aria-label") or given.get("alt") or (tag == "svg" and given.get("role"))
        pictured = tag in ("img", "video", "audio") or given.get("role") in ("img", "region")
        if pictured and not named:
            self.unnamed.append(self.get_starttag_text() or tag)


def pages(root: Path) -> dict[str, str]:
    a_run(root / "single/teacher", 90)
    a_demo(root / "demo")
    for n in range(40):
        a_run(root / f"many/depth_cnn_run_{n}", 10 + 2 * n)
    a_study(root / "mixed/study", {"seed=0": 90, "seed=1": 95, "seed=2": None})
    a_run(root / "mixed/pick", 5, task="pick_lift")
    return {name: write_report(root / name).read_text(encoding="utf-8") for name in ("single", "demo", "many", "mixed")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return pages(tmp_path_factory.mktemp("pages"))


NAMES = ("single", "demo", "many", "mixed")


@pytest.mark.parametrize("name", NAMES)
def test_headings_go_down_step_by_step_heads_of_tables_have_a_scope_and_pictures_a_name(
    made: dict[str, str], name: str
) -> None:
    outline = Outline(made[name])
    assert outline.levels[0] == 1 and outline.levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(outline.levels, outline.levels[1:], strict=False)), outline.levels
    assert outline.heads and all(head.get("scope") in ("col", "row") for head in outline.heads)
    assert not outline.unnamed


@pytest.mark.parametrize("name", NAMES)
def test_the_only_script_is_the_one_that_the_policy_names_by_its_hash(made: dict[str, str], name: str) -> None:
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", made[name], flags=re.DOTALL)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', made[name])
    assert policy is not None and policy[1].startswith("default-src 'none'") and "unsafe-eval" not in policy[1]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert re.findall(r"'sha256-([^']*)'", policy[1]) == digests and len(scripts) == 1
    assert "script-src 'unsafe" not in policy[1] and not re.search(r"\son\w+=", made[name].replace("\n", " "))


def test_a_page_with_many_runs_is_whole_without_its_script(made: dict[str, str]) -> None:
    text = re.sub(r"<script.*?</script>", "", made["many"], flags=re.DOTALL)
    [table] = re.findall(r'<table class="sorts"><thead><tr><th scope="col">Setting.*?</table>', text, flags=re.DOTALL)
    assert table.count('<th scope="row">') == 40 and "hidden" not in table
    assert [int(n) for n in re.findall(r">run_(\d+)</span></th>", table)] == list(range(40)), "in natural order"
    assert "Show all" not in text and "Filter rows" not in text


def test_of_many_runs_no_title_is_clipped_and_there_are_no_cards_but_bars_and_a_table(made: dict[str, str]) -> None:
    assert 'kpi"' not in made["many"] and made["many"].count('class="bar"') == 40
    assert "text-overflow" not in made["many"] and "20 more</summary>" in made["many"]
    assert "35 others" in made["many"], "five lines have a colour"


def test_bars_say_their_numbers_in_words(made: dict[str, str]) -> None:
    text = made["mixed"].replace("\u00a0", " ")
    assert re.search(
        r'aria-label="study: 92.5 %, 95 % interval [\d.]+ % to [\d.]+ %; seed 0: 90 %; seed 1: 95 %"', text
    )


def test_on_paper_a_film_is_its_first_frame_commands_wrap_and_headings_stay_with_what_follows(
    made: dict[str, str],
) -> None:
    page = made["demo"]
    assert page.count("<video") == page.count('class="paper" src="data:image/png;base64,') == 1
    paper = page.partition("@media print")[2].partition("</style>")[0]
    for rule in ("img.paper { display: block", "break-after: avoid", "tr[hidden] { display: table-row"):
        assert rule in paper
    assert re.search(r"\npre {[^}]*white-space: pre-wrap", page)


def test_a_film_that_cannot_be_read_is_named_on_paper(tmp_path: Path) -> None:
    a_run(tmp_path / "run", 5)
    (tmp_path / "run/a.mp4").write_bytes(b"no film")
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "data:video/mp4" in page and ": a film, to be seen on a screen" in page


def test_forty_runs_of_a_thousand_points_make_a_page_of_less_than_three_megabytes(tmp_path: Path) -> None:
    for n in range(40):
        a_run(tmp_path / f"run_{n}", 10 + 2 * n, points=1000)
    assert write_report(tmp_path).stat().st_size < 3e6

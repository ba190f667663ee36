"""Why episodes fail: nothing is counted twice or lost, a cause has one colour, a page shows all seeds of a setting."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import a_run, a_study

from embodkd.core.runs.files import write_json
from embodkd.evaluation import Episode, Evaluation
from embodkd.evaluation.report import write_report, write_tables
from embodkd.evaluation.report.causes import by_cause

SEEDS = st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9)), min_size=1, max_size=3)


@given(st.lists(SEEDS, max_size=4))
def test_counts_and_shares_are_those_of_all_seeds_and_widths_are_on_one_scale(
    seeds: list[list[dict[str, int]]],
) -> None:
    found = by_cause((str(k), each, 100 * len(each)) for k, each in enumerate(seeds))
    pooled = {str(k): sum(map(Counter, each), Counter()) for k, each in enumerate(seeds)}
    assert [failed.label for failed in found] == [label for label, causes in pooled.items() if causes]
    for failed in found:
        causes = pooled[failed.label]
        assert {cause.name: cause.count for cause in failed.causes} == causes
        assert failed.count == sum(causes.values()) and failed.episodes == 100 * len(seeds[int(failed.label)])
        counts = [cause.count for cause in failed.causes]
        assert counts == sorted(counts, reverse=True)
        for cause in failed.causes:
            assert cause.share == pytest.approx(cause.count / failed.episodes)
            assert cause.width * max(f.share for f in found) == pytest.approx(cause.share)
    widths = [sum(cause.width for cause in failed.causes) for failed in found]
    assert not widths or max(widths) == pytest.approx(1.0)


@given(st.lists(SEEDS, max_size=4))
def test_a_cause_has_one_colour_and_the_most_frequent_share_theirs_with_none(seeds: list[list[dict[str, int]]]) -> None:
    found = by_cause((str(k), each, 100) for k, each in enumerate(seeds))
    worn = {(cause.name, cause.colour) for failed in found for cause in failed.causes}
    colours = dict(worn)
    assert len(colours) == len(worn)
    often = sum((Counter(one) for each in seeds for one in each), Counter())
    for name in sorted(often, key=lambda name: (-often[name], name))[:5]:
        assert list(colours.values()).count(colours[name]) == 1 and colours[name] != "--other"


def shown(text: str) -> list[tuple[str, str, list[str]]]:
    """(label, "n of m failed", causes) of each bar on a page."""
    bars = re.findall(r'<div class="bar why">(.*?)</ul></div>', unescape(text).replace("\u00a0", " "), re.DOTALL)
    plain = [[re.sub(r"<.*?>", "", item) for item in re.findall(r"<li .*?</li>", bar)] for bar in bars]
    labels = [re.search(r'bar-label">(.*?)</div>.*<small>(.*?)</small>', bar, re.DOTALL) for bar in bars]
    return [(label[1], label[2], causes) for label, causes in zip(labels, plain, strict=True) if label]


def judged(folder: Path, *causes: str) -> None:
    """The first episodes failed by these causes, all others succeeded."""
    before = Evaluation.load(folder)
    failures = [*causes, *[None] * (before.episodes - len(causes))]
    made = tuple(Episode(k, cause is None, cause, 1.0, 30) for k, cause in enumerate(failures))
    Evaluation(made, before.protocol, before.manifest).save(folder)


def test_a_page_shows_the_causes_of_a_setting_over_its_seeds(tmp_path: Path) -> None:
    a_study(tmp_path / "study", {"seed=0": 9, "seed=1": 9}, episodes=10)
    a_run(tmp_path / "teacher", 10, episodes=10)
    judged(tmp_path / "study/seed=0", "peg_undone", "peg_tipped_over")
    judged(tmp_path / "study/seed=1", "peg_tipped_over")
    (bar,) = shown(write_report(tmp_path).read_text())
    assert bar == ("study", "3 of 20 failed", ["peg tipped over 2 (10 %)", "peg undone 1 (5 %)"])


def test_a_page_without_failures_says_nothing_of_causes(tmp_path: Path) -> None:
    a_run(tmp_path / "teacher", 10, episodes=10)
    assert "Why episodes fail" not in write_report(tmp_path).read_text()


def test_tables_show_the_causes_of_each_cell_that_tells_them(tmp_path: Path) -> None:
    plain = {"setting": ["task", "seed"], "task": "peg", "command": "x", "episodes": 10, "success_rate": 0.5}
    rows = [
        {**plain, "cell": f"peg/{seed}/base", "seed": seed, "successes": 5, "failures": failures}
        for seed, failures in ((0, {"peg_undone": 5}), (1, {"peg_undone": 2, "peg_tipped_over": 3}))
    ]
    rows.append({**plain, "cell": "peg/0/silent", "seed": 0, "successes": 5})
    write_json(tmp_path / "toy.json", {"slug": "toy", "tables": {"main": rows}})
    (bar,) = shown(write_tables(tmp_path / "toy.json").read_text())
    assert bar == ("base", "10 of 20 failed", ["peg undone 7 (35 %)", "peg tipped over 3 (15 %)"])

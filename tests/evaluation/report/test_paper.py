"""The table for a paper holds each setting once, with what a paper says of it, in letters that LaTeX and CSV keep."""

from __future__ import annotations

import csv
import re
from html import unescape
from pathlib import Path

from report_runs import a_run, a_study

from embodkd.evaluation.report import write_report
from embodkd.evaluation.report.paper import csv_table, latex_table
from embodkd.evaluation.report.places import find_members
from embodkd.evaluation.report.sections import Section, sections


def studied(root: Path) -> list[Section]:
    runs = {
        f"student={name},seed={seed}": won + seed for name, won in (("cnn_a", 60), ("mlp", 30)) for seed in range(5)
    }
    a_study(root / "study", runs)
    return sections(find_members(root / "study").members)


def test_latex_is_a_booktabs_table_with_a_row_for_each_setting(tmp_path: Path) -> None:
    text = latex_table(studied(tmp_path))
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrr}" and lines[-1] == r"\end{tabular}"
    assert [line for line in lines if line.endswith("rule")] == [r"\toprule", r"\midrule", r"\bottomrule"]
    row = re.search(r"^cnn\\_a & 62\.0 & \[(\d+\.\d), (\d+\.\d)\] & 5 & 100 \\\\$", text, flags=re.MULTILINE)
    assert row is not None and float(row[1]) < 62 < float(row[2])
    assert all(line.count("&") == 4 for line in lines if "&" in line)


def test_csv_says_the_same_as_numbers(tmp_path: Path) -> None:
    rows = list(csv.DictReader(csv_table(studied(tmp_path)).splitlines()))
    assert [row["setting"] for row in rows] == ["cnn_a", "mlp"]
    first = rows[0]
    assert (first["protocol"], first["seeds"], first["episodes"]) == ("Peg hole, low randomness", "5", "100")
    assert float(first["low"]) < float(first["success"]) == 0.62 < float(first["high"])
    assert float(first["interquartile_mean"]) == 0.62


def test_special_letters_are_kept(tmp_path: Path) -> None:
    a_study(tmp_path / "s", {"a={x}&50%_$#~^,seed=0": 5, "b=\\,seed=0": 5})
    text = latex_table(sections(find_members(tmp_path / "s").members))
    for escaped in (r"\{x\}", r"\&50\%\_\$\#", r"\textasciitilde{}", r"\textasciicircum{}", r"\textbackslash{}"):
        assert escaped in text


def test_it_is_the_last_part_of_the_page_of_a_study_and_of_no_other(tmp_path: Path) -> None:
    studied(tmp_path)
    page = unescape(write_report(tmp_path / "study").read_text(encoding="utf-8"))
    assert re.findall(r'class="head">([^<]*)<', page)[-1] == "For a paper" and r"\begin{tabular}" in page
    a_run(tmp_path / "run", 5)
    assert "For a paper" not in write_report(tmp_path / "run").read_text(encoding="utf-8")

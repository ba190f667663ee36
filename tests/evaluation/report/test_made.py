"""What models made stands side by side on a page: texts, pictures and sounds, each in its model's column."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from embodkd.evaluation import Episode, Evaluation
from embodkd.evaluation.report import write_report
from embodkd.evaluation.report.page import base64_of
from embodkd.evaluation.samples.kept import Sample, Samples, Shown, samples_of
from embodkd.evaluation.samples.media import png, wav


def picture(grey: int) -> bytes:
    return png(np.full((4, 6), grey, np.uint8))


def a_run(
    folder: Path, *rows: Sample, about: str = "The same for all.", weights: str = "0", part: str = "test"
) -> Path:
    outcomes = (Episode(0, True, None, 0.0, 1), Episode(1, False, "wrong", 0.0, 1))
    protocol = {"data": {"name": "sums", "seed": 0}, "part": part, "success": "the answer is right", "unit": "items"}
    manifest = {"weights_sha256": weights, "measures": {"nll": 0.5, "pass_at_1": 50.0}}
    folder.mkdir(parents=True)
    Evaluation(outcomes, protocol, manifest).save(folder)
    Samples(about, rows, weights).save(samples_of(folder / "evaluation.json"))
    return folder


class Cells(HTMLParser):
    """The tables of class "made": rows of cells, each its text and the sources in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self.inside = given.get("class") == "made"
            if self.inside:
                self.tables.append([])
        elif self.inside and tag == "tr":
            self.tables[-1].append([])
        elif self.inside and tag in ("th", "td"):
            self.tables[-1][-1].append("")
        elif self.inside and tag in ("img", "audio"):
            assert given.get("alt") or given.get("aria-label")
            self.tables[-1][-1][-1] += f"<{given['src']}>"

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "table"

    def handle_data(self, data: str) -> None:
        if self.inside and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data.strip()


def made(page: Path) -> list[list[list[str]]]:
    return Cells(page.read_text(encoding="utf-8")).tables


def test_a_row_is_one_thing_that_was_asked_and_a_column_one_model(tmp_path: Path) -> None:
    truth = Shown("4")
    a_run(tmp_path / "teacher", Sample(Shown("2+2?"), Shown("4"), truth, True), Sample(Shown("1+1?"), Shown("2")))
    a_run(tmp_path / "redi", Sample(Shown("2+2?"), Shown("5"), truth, False))
    a_run(tmp_path / "alone", Sample(Shown("3+3?"), Shown(""), Shown("6"), False))
    assert made(write_report(tmp_path)) == [
        [
            ["Given", "What there is", "Teacher", "alone", "redi"],
            ["2+2?", "4", "4right", "–", "5wrong"],
            ["1+1?", "", "2", "–", "–"],
            ["3+3?", "6", "–", "wrong", "–"],
        ]
    ]


def test_what_has_another_truth_is_no_answer_to_the_same_question(tmp_path: Path) -> None:
    for name, truth in (("a", "4"), ("b", "5")):
        a_run(tmp_path / name, Sample(Shown("2+2?"), Shown("4"), Shown(truth), truth == "4"))
    [table] = made(write_report(tmp_path))
    assert table[1:] == [["2+2?", "4", "4right", "–"], ["2+2?", "5", "–", "4wrong"]]


def test_pictures_and_sounds_are_inside_the_page(tmp_path: Path) -> None:
    tone_T = np.sin(np.arange(800) / 3)
    said = Sample(Shown("hello"), Shown("0.10 s", picture(50), wav(tone_T, 8000)))
    run = a_run(tmp_path / "run", Sample(Shown("noise"), Shown(png=picture(9)), Shown(png=picture(200))), said)
    [table] = made(write_report(run))
    assert table[1] == [
        "noise",
        f"<data:image/png;base64,{base64_of(picture(200))}>",
        f"<data:image/png;base64,{base64_of(picture(9))}>",
    ]
    mel, sound = (base64_of(content) for content in (said.made.png, said.made.wav))
    assert table[2] == ["hello", "", f"<data:image/png;base64,{mel}><data:audio/wav;base64,{sound}>0.10 s"]
    assert "<audio controls" in (run / "report.html").read_text()


def test_of_a_study_the_first_seed_stands_for_its_setting_and_of_many_models_some_are_shown(tmp_path: Path) -> None:
    study = tmp_path / "study"
    for seed in (0, 1):
        a_run(study / f"seed={seed}", Sample(Shown("2+2?"), Shown(f"seed {seed}")))
        (study / f"seed={seed}/config.yaml").write_text(f"seed: {seed}\n")
        (study / f".multirun/seed={seed}").mkdir(parents=True)
        (study / f".multirun/seed={seed}/overrides.yaml").write_text(f"- seed={seed}\n")
    (study / "multirun.yaml").write_text("hydra: {}\n")
    [[head, row]] = made(write_report(study))
    assert head[1].endswith("seed 0") and row == ["2+2?", "seed 0"]
    for k in range(7):
        a_run(tmp_path / f"many/model_{k}", *(Sample(Shown(f"prompt {p}"), Shown("a")) for p in range(30)))
    page = write_report(tmp_path / "many")
    [table] = made(page)
    assert len(table[0]) == 6 and len(table) == 25
    assert "2 others made samples, too" in page.read_text() and "6 more of what was asked" in page.read_text()


def test_samples_of_other_weights_than_were_judged_are_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", Sample(Shown("a"), Shown("b")), weights="new")
    Samples("", (), "old").save(samples_of(run / "evaluation.json"))
    with pytest.raises(
        ValueError, match="evaluation_samples: of other weights than evaluation.json; say `embodkd eval"
    ):
        write_report(run)


def test_measures_and_what_counts_are_the_judge_s_own(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    page = write_report(run).read_text()
    assert "The answer is right. The whisker" in page and "largest logit" not in page
    assert re.search(r"<th scope=\"col\">nll</th><th scope=\"col\">pass_at_1</th>", page)
    assert "<td>0.5</td><td>50</td>" in page and not made(run / "report.html")


def test_a_folder_that_is_a_link_out_of_the_run_is_left_out(tmp_path: Path) -> None:
    private = a_run(tmp_path / "private", Sample(Shown("secret prompt"), Shown("secret answer")))
    run = a_run(tmp_path / "run", Sample(Shown("a"), Shown("b")))
    shutil.rmtree(run / "evaluation_samples")
    (run / "evaluation_samples").symlink_to(private / "evaluation_samples")
    assert made(write_report(run)) == [] and "secret prompt" not in (run / "report.html").read_text()

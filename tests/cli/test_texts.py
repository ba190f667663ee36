"""The same verbs on texts: what they leave behind, what they answer, what they refuse."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="extra language is not installed")
DATA = ["data=sums", "data.digits=1", "data.train=30", "data.validation=6", "data.test=8"]
TINY = [*DATA, "budget.updates=5", "budget.batch_size=10", "quiet=true"]
SMALL = ["model=gru_lm", "model.width=8"]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/teacher_sums, a transformer, and its student runs/student."""
    from embodkd.cli import main

    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    try:
        large = ["model=causal_lm", "model.width=16", "model.depth=1", "model.heads=2"]
        assert main(["train", "teacher", *TINY, *large]) == 0
        taught = ["teacher=runs/teacher_sums", "method=supervised", "run=runs/student"]
        assert main(["distill", "student", *TINY, *SMALL, *taught]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_once / "runs", tmp_path / "runs")
    return tmp_path


def test_runs_hold_the_same_files_as_those_of_classifiers_and_the_tokenizer(made_once: Path) -> None:
    for name, more in (("teacher_sums", ["hf/config.json", "hf/tokenizer.json"]), ("student", [])):
        run = made_once / "runs" / name
        files = ["config.yaml", "manifest.json", "metrics.jsonl", "evaluation.json", "model/tokenizer.json"]
        assert all((run / file).stat().st_size > 0 for file in [*files, *(f"model/{one}" for one in more)])
    lineage = json.loads((made_once / "runs/student/model/config.json").read_text())["lineage"]
    assert lineage["teacher"]["model"] == "runs/teacher_sums/model" and lineage["data"]["name"] == "sums"


def test_an_evaluation_counts_right_answers_and_says_how_likely_texts_are(embodkd, here: Path) -> None:
    stored = json.loads((here / "runs/student/evaluation.json").read_text())
    assert stored["episodes"] == 8 and stored["protocol"]["success"] == "the likeliest tokens answer rightly"
    answer = embodkd("evaluate", "runs/student", "part=validation")
    assert answer.code == 0 and "of 6 items" in answer.out and "perplexity" in answer.out and "pass_at_8" in answer.out
    both = embodkd("compare", "policy=runs/student", "against=runs/teacher_sums")
    assert both.code == 0, both.err


def test_what_does_not_fit_is_one_error_before_any_folder(embodkd, here: Path) -> None:
    for words, said in (
        (["method=kd", *SMALL, "teacher=runs/teacher_sums"], "'kd' learns from a data set (data=...), not from texts"),
        (["method=supervised"], "model mlp: is built for data that say shape and classes"),
        (["method=supervised", *SMALL, "teacher=runs/gone"], "no such model folder"),
    ):
        answer = embodkd("distill", "student", *TINY, *words, "run=runs/no")
        assert answer.code == 2 and said in answer.err and not (here / "runs/no").exists()
    digits = ["data=digits", "data.train=60", "data.validation=40", "budget.updates=5"]
    wrong = embodkd("distill", "student", *digits, "method=kd", "teacher=runs/teacher_sums", "run=runs/no")
    assert wrong.code == 2 and "was made for data with shape None, these have (1, 8, 8)" in wrong.err
    exported = embodkd("export", "policy=runs/teacher_sums")
    assert exported.code == 2 and "transformers loads runs/teacher_sums/model/hf" in exported.err


def test_the_list_says_kind_and_licence(embodkd) -> None:
    lines = {line.split()[0]: line for line in embodkd("data", "list").out.splitlines()}
    assert lines["sums"].split()[1] == "texts" and lines["digits"].split()[1] == "splits"
    assert lines["digits"].endswith("(CC BY 4.0)")


def test_a_table_of_texts_is_a_file_like_any_other(embodkd, here: Path) -> None:
    file = here / "toy.yaml"
    file.write_text(
        """
slug: toy
data: {name: sums, digits: 1, train: 20, validation: 6, test: 8}
teachers:
  teacher: {model: {name: causal_lm, width: 16, depth: 1, heads: 2}, method: {name: supervised}}
student: {name: gru_lm, width: 8}
budget: {updates: 3, batch_size: 10}
seeds: [0, 1]
metric: nll
arms:
  alone: {role: student_alone, method: {name: supervised}}
  smooth: {role: method, method: {name: supervised, label_smoothing: 0.2}}
"""
    )
    tried = embodkd("reproduce", str(file), "dry_run=true", "quiet=true")
    assert tried.code == 0, tried.err
    answer = embodkd("reproduce", str(file), "quiet=true", "out=toy.json")
    assert answer.code == 0, answer.err
    result = json.loads((here / "toy.json").read_text())
    assert result["better"] == "lower" and len(result["arms"]["smooth"]["values"]) == 2
    assert {"nll", "perplexity", "pass_at_1", "nll@train"} <= set(result["arms"]["alone"]["measures"])
    file.write_text(file.read_text().replace("method: {name: supervised}}\nstudent", "method: {name: kd}}\nstudent"))
    wrong = embodkd("reproduce", str(file), "quiet=true")
    assert wrong.code == 2 and "teacher.method: 'kd' learns from a data set" in wrong.err

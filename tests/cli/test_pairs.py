"""The same verbs on images with texts: a teacher, a student that inherits or is pruned, and what they are judged by."""

from __future__ import annotations

import json
import os
from pathlib import Path

import forty
import pytest

pytest.importorskip("transformers", reason="extra language is not installed")
DATA = ["data=emoji_names", "data.size=8", "data.length=8", "data.vocabulary=300"]
TINY = [*DATA, "budget.updates=6", "budget.batch_size=8", "quiet=true", "model=towers"]
LARGE = ["model.head=4", "model.joint=8", "model.image_width=12", "model.text_width=12", "model.image_depth=2"]
SMALL = [*LARGE[:2], "model.image_width=8", "model.text_width=8", "model.image_depth=1", "model.text_depth=2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache of forty concepts, runs/teacher, and two students of it."""
    from embodkd.cli import main

    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    forty.concepts(folder / "cache")
    os.environ["EMBODKD_CACHE"] = str(folder / "cache")
    os.chdir(folder)
    try:
        assert main(["train", "teacher", *TINY, *LARGE, "run=runs/teacher"]) == 0
        taught = ["distill", "student", *TINY, "teacher=runs/teacher", "method=tinyclip"]
        assert main([*taught, *SMALL, "run=runs/student"]) == 0
        gates = ["method.mode=automatic", "method.gate_rate=5", "method.price=1000", "budget.updates=10"]
        assert main([*taught, *LARGE, *gates, "run=runs/pruned"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def there(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMBODKD_CACHE", str(made / "cache"))
    return made


def test_runs_hold_a_model_its_tokenizer_and_an_evaluation(made: Path) -> None:
    for name in ("teacher", "student", "pruned"):
        run = made / "runs" / name
        assert all(
            (run / file).stat().st_size for file in ("evaluation.json", "model/tokenizer.json", "model/README.md")
        )
        measures = json.loads((run / "evaluation.json").read_text())["manifest"]["measures"]
        assert {"r1", "image_to_text_r5", "text_to_image_r10", "zero_shot"} <= measures.keys()


def test_what_was_pruned_says_which_shapes_it_has_and_answers_after_loading(made: Path) -> None:
    from embodkd.models import load_model

    model, config = load_model(made / "runs/pruned/model")
    whole, _ = load_model(made / "runs/teacher/model")
    assert config["arguments"]["pruned"] and config["arguments"]["image_width"] == 12
    assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in whole.parameters())


def test_models_of_pairs_are_evaluated_and_compared(embodkd, there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = embodkd("evaluate", str(there / "runs/student"), "part=validation")
    assert answer.code == 0 and "items" in answer.out and "r1" in answer.out, answer.err
    both = embodkd("compare", f"policy={there / 'runs/student'}", f"against={there / 'runs/teacher'}")
    assert both.code == 0, both.err


def test_what_does_not_fit_is_one_error(embodkd, there: Path) -> None:
    teacher = f"teacher={there / 'runs/teacher'}"
    for words, said in (
        (["train", "teacher", *DATA, "model=mlp"], "built for data that say"),
        (["train", "teacher", "data=digits", "model=towers"], "built for data that say"),
        (["distill", "student", *TINY, *SMALL, teacher, "method=kd"], "not from pairs"),
        (["distill", "student", *TINY, *SMALL, "method=tinyclip"], "needs a teacher"),
        (
            ["distill", "student", *TINY, *SMALL, teacher, "method=tinyclip", "method.mode=automatic"],
            "the teacher's size",
        ),
        (["distill", "student", *TINY, *SMALL, teacher, "method=tinyclip", "data.size=16"], "with shape"),
    ):
        answer = embodkd(*words, "quiet=true")
        assert answer.code == 2 and said in answer.err, (words, answer.err)

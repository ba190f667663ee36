"""The same verbs on data sets: what they leave behind, what they answer, what they refuse."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from embodkd.core.runs.files import read_tensors

TINY = ["data=digits", "data.train=60", "data.validation=40", "budget.updates=20", "quiet=true"]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/teacher_digits and its student runs/kd_digits."""
    from embodkd.cli import main

    folder, before = tmp_path_factory.mktemp("made"), Path.cwd()
    os.chdir(folder)
    try:
        assert main(["train", "teacher", *TINY, "model.hidden=[16]"]) == 0
        assert main(["distill", "student", *TINY, "model.hidden=[6]", "teacher=runs/teacher_digits"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(made_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_once / "runs", tmp_path / "runs")
    return tmp_path


def evaluation(run: Path) -> dict:
    return json.loads((run / "evaluation.json").read_text())


def test_runs_hold_the_same_files_as_those_of_policies(made_once: Path) -> None:
    for name in ("teacher_digits", "kd_digits"):
        run = made_once / "runs" / name
        files = ("config.yaml", "manifest.json", "metrics.jsonl", "evaluation.json", "model/model.safetensors")
        assert all((run / file).stat().st_size > 0 for file in files)
        assert json.loads((run / "manifest.json").read_text())["minutes"] > 0


def test_an_evaluation_counts_the_test_items(made_once: Path) -> None:
    from embodkd.data import make_data
    from embodkd.evaluation import wilson
    from embodkd.models import load_model

    found = evaluation(made_once / "runs/kd_digits")
    model, _ = load_model(made_once / "runs/kd_digits/model")
    test = make_data("digits", seed=0, train=60, validation=40).test.fields
    with torch.no_grad():
        right = (model(test["input"])["logits"].argmax(1) == test["label"]).tolist()
    assert found["successes"] == sum(right) and found["episodes"] == 1697
    assert found["ci95"] == pytest.approx(wilson(sum(right), 1697))
    assert [o["success"] for o in found["per_episode"]] == right
    assert [o["seed"] for o in found["per_episode"]] == test["sample_id"].tolist()
    assert sum(found["failures"].values()) == 1697 - sum(right) and all("taken for" in f for f in found["failures"])


def test_a_student_names_its_teacher_its_method_and_its_data(made_once: Path) -> None:
    lineage = json.loads((made_once / "runs/kd_digits/model/config.json").read_text())["lineage"]
    assert lineage["teacher"]["model"] == "runs/teacher_digits/model"
    assert lineage["teacher"]["lineage"]["method"]["name"] == "supervised"
    assert lineage["method"]["temperature"] == 4.0 and lineage["data"]["train"] == 60


def test_the_teacher_is_not_touched_and_not_in_the_student(made_once: Path, embodkd, here: Path) -> None:
    weights = here / "runs/teacher_digits/model/model.safetensors"
    before = weights.read_bytes()
    assert embodkd("distill", "student", *TINY, "teacher=runs/teacher_digits", "run=runs/other").code == 0
    assert weights.read_bytes() == before
    assert read_tensors(here / "runs/kd_digits/model/model.safetensors")["classifier.weight"].shape == (10, 6)


def test_same_seed_same_weights_other_seed_others_on_the_same_items(embodkd, here: Path) -> None:
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        words = [*TINY, "model.hidden=[6]", "teacher=runs/teacher_digits", f"run=runs/{run}", f"seed={seed}"]
        assert embodkd("distill", "student", *words).code == 0
    weights = {run: (here / f"runs/{run}/model/model.safetensors").read_bytes() for run in "abc"}
    assert weights["a"] == weights["b"] != weights["c"]
    assert weights["a"] == (here / "runs/kd_digits/model/model.safetensors").read_bytes()
    assert len({json.dumps(evaluation(here / f"runs/{run}")["protocol"]) for run in "abc"}) == 1


def test_a_run_is_not_overwritten_but_goes_on_with_resume(embodkd, here: Path) -> None:
    words = [*TINY, "model.hidden=[16]"]
    refused = embodkd("train", "teacher", *words)
    assert refused.code == 2 and "resume=true" in refused.err
    before = (here / "runs/teacher_digits/model/model.safetensors").read_bytes()
    assert embodkd("train", "teacher", *words, "resume=true").code == 0
    assert (here / "runs/teacher_digits/model/model.safetensors").read_bytes() == before


def test_several_teachers_are_given_by_name(embodkd, here: Path) -> None:
    words = ["teacher={one:runs/teacher_digits,two:runs/kd_digits}", "run=runs/two"]
    answer = embodkd("distill", "student", *TINY, *words)
    assert answer.code == 2 and "takes one teacher, got 2: one, two" in answer.err
    assert not (here / "runs/two").exists()


def test_evaluate_judges_another_part_into_a_file_of_its_own(embodkd, here: Path) -> None:
    before = (here / "runs/kd_digits/evaluation.json").read_bytes()
    answer = embodkd("evaluate", "runs/kd_digits", "part=validation")
    assert answer.code == 0 and "of 40 items" in answer.out and "ece" in answer.out
    assert (here / "runs/kd_digits/evaluation.json").read_bytes() == before
    assert json.loads((here / "runs/kd_digits/evaluation_validation.json").read_text())["episodes"] == 40
    wrong = embodkd("evaluate", "runs/kd_digits", "part=validaton")
    assert wrong.code == 2 and "'validation'" in wrong.err
    assert embodkd("evaluate", "runs/kd_digits", "probe=true").code == 2


def test_two_classifiers_are_compared_item_by_item_and_never_on_other_items(embodkd, here: Path) -> None:
    answer = embodkd("compare", "policy=runs/kd_digits", "against=runs/teacher_digits")
    assert answer.code == 0 and "on 1697 shared items" in answer.out
    other = [*TINY, "data_seed=1", "run=runs/elsewhere"]
    assert embodkd("train", "teacher", *other).code == 0
    refused = embodkd("compare", "policy=runs/kd_digits", "against=runs/elsewhere")
    assert refused.code == 2 and "data.seed: 0 and 1" in refused.err


def test_the_report_shows_a_classifier(embodkd, here: Path) -> None:
    assert embodkd("report", "runs").code == 0
    page = (here / "runs/report.html").read_text()
    assert "Digits, test" in page and "1697 items" in page and "taken for" in page


def test_multirun_and_options_reach_the_trainer(embodkd, here: Path) -> None:
    words = [*TINY, "-m", "seed=0,1", "run=runs/twins", "trainer.accumulate=2", "budget.optimiser.learning_rate=0.01"]
    assert embodkd("train", "teacher", *words).code == 0
    configs = [yaml.safe_load((here / f"runs/twins/seed={s}/config.yaml").read_text()) for s in (0, 1)]
    assert [c["seed"] for c in configs] == [0, 1] and configs[0]["trainer"]["accumulate"] == 2
    assert configs[0]["budget"]["optimiser"]["learning_rate"] == 0.01


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics card")
def test_a_missing_graphics_card_is_said_in_one_line(embodkd) -> None:
    answer = embodkd("train", "teacher", *TINY, "trainer.device=cuda")
    assert answer.code == 2 and "trainer.device: cuda" in answer.err and answer.err.count("\n") == 1


def test_a_classifier_is_not_taken_for_a_policy_nor_a_policy_s_method_for_one_of_data(embodkd, here: Path) -> None:
    answer = embodkd("distill", "student", "teacher=runs/teacher_digits")
    assert answer.code == 2 and "is a classifier" in answer.err and "data=..." in answer.err


def test_a_teacher_of_other_inputs_is_refused(embodkd, here: Path) -> None:
    answer = embodkd("distill", "student", *TINY, "data.pad=1", "teacher=runs/teacher_digits")
    assert answer.code == 2 and "(1, 8, 8)" in answer.err and "(1, 10, 10)" in answer.err


def test_a_teacher_of_other_classes_or_of_another_order_or_task_is_refused_by_name(embodkd, here: Path) -> None:
    few = [word for word in TINY if word != "data=digits"]
    assert embodkd("train", "teacher", "data=digits", "data.classes=[0,1,7]", *few, "run=runs/three").code == 0
    for chosen, shown in (("[7,1,0]", "(7, 1, 0)"), ("[3,8,9]", "(3, 8, 9)")):
        answer = embodkd("distill", "student", "data=digits", f"data.classes={chosen}", *few, "teacher=runs/three")
        assert answer.code == 2 and "(0, 1, 7)" in answer.err and shown in answer.err, answer.err
    answer = embodkd("distill", "student", "data.parity=true", *TINY, "teacher=runs/three", "run=runs/parity")
    assert answer.code == 2 and "(even, odd)" in answer.err and not (here / "runs/parity").exists()


def test_a_teacher_that_has_seen_the_test_is_said_wherever_the_figure_is(embodkd, here: Path) -> None:
    words = ["data=digits", "budget.updates=5", "quiet=true", "data.validation=100"]
    assert embodkd("train", "teacher", *words, "data.train=1500", "data_seed=1", "run=runs/seen").code == 0
    answer = embodkd("distill", "student", *words, "data.train=100", "teacher=runs/seen", "run=runs/student")
    said = "of these 1,597 items its teachers saw 1,340 in train, 83 in validation"
    first, *_, figure = answer.out.splitlines()
    assert answer.code == 0 and said in first and "% of 1597 items" in figure and said in figure
    assert said in embodkd("evaluate", "runs/student").out
    assert f"the first: {said}" in embodkd("compare", "policy=runs/student", "against=runs/student").out
    # Whoever learns from that student has it from the same teacher.
    assert said in embodkd("distill", "student", *words, "data.train=100", "teacher=runs/student").out
    assert embodkd("report", "runs/student").code == 0
    assert f"Beware: {said}." in (here / "runs/student/report.html").read_text()
    assert "beware" not in embodkd("evaluate", "runs/seen").out


def test_a_teacher_of_a_version_that_did_not_say_what_it_saw_is_used_and_said(embodkd, here: Path) -> None:
    folder = here / "runs/teacher_digits/model"
    config = json.loads((folder / "config.json").read_text())
    del config["provenance"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "items.safetensors").unlink()
    answer = embodkd("distill", "student", *TINY, "teacher=runs/teacher_digits", "run=runs/after")
    assert answer.code == 0 and answer.out.count("saw these items in training is not known") == 2


def test_a_product_with_another_head_comes_back_from_its_folder(embodkd, here: Path) -> None:
    from embodkd.models import load_model

    words = [*TINY, "method=lelp", "method.subclasses=2", "model.hidden=[6]", "teacher=runs/teacher_digits"]
    assert embodkd("distill", "student", *words).code == 0
    model, config = load_model(here / "runs/lelp_digits/model")
    assert config["subclasses"] == 2 and model(torch.rand(3, 1, 8, 8))["logits"].shape == (3, 10)


def test_what_no_folder_can_hold_is_refused_before_the_training() -> None:
    from embodkd.models import check_storable, make_model

    model = make_model("mlp", (1, 8, 8), 10)
    check_storable(model, "here")
    model.classifier = torch.nn.Linear(256, 30)
    with pytest.raises(ValueError, match="here: changes the layers of its MLP"):
        check_storable(model, "here")
    with pytest.raises(ValueError, match="here: makes a Linear"):
        check_storable(torch.nn.Linear(2, 2), "here")

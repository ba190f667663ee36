"""What an arm is: where it starts, whom it learns from, what may differ between arms, what is measured of each."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
import torch
from small_table import ALL, TABLE

from embodkd.core.runs.files import read_tensors
from embodkd.evaluation import reproduce as tables
from embodkd.evaluation.reproduce.cells import Cells
from embodkd.evaluation.reproduce.corrupt import Corrupted
from embodkd.evaluation.reproduce.training import own_seed, untrained


def test_arms_start_alike_and_distillation_without_the_teacher_is_training_alone_bit_for_bit(table) -> None:
    result, _ = table(lambda content: content["arms"]["kd"]["method"].update(alpha=0.0))
    weights = [Path(f"runs/reproduce/toy/seed_0/arms/{arm}/product/model.safetensors") for arm in ("alone", "kd")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert result["comparisons"][0]["differences"] == [0, 0] and result["comparisons"][0]["verdict"] == "no_gain"


def test_a_teacher_of_the_student_s_kind_starts_elsewhere(table, tmp_path) -> None:
    table(lambda content: content["teachers"]["teacher"].update(model=content["student"]), seeds=[0])
    known = tables.read(tmp_path / "toy.yaml")
    teacher, arm = known.teachers["teacher"], known.arms["kd"].training
    assert own_seed(arm, 0) == 0 and len({own_seed(teacher, seed) for seed in range(100)} - {0}) == 100
    first, second = (untrained(one, 0).recipe.product.state_dict() for one in (teacher, arm))
    assert not any(torch.equal(first[name], second[name]) for name in first)


def test_an_arm_may_change_its_student_its_teachers_its_data_and_its_budget(table, trained, tmp_path) -> None:
    def change(content):
        content["arms"]["other"] = {
            "role": "baseline",
            "method": {"name": "kd"},
            "student": {"name": "mlp", "hidden": [5]},
            "teachers": {"teacher": {"budget": {"updates": 5}}},
            "data": {"train": 50},
            "budget": {"optimiser": {"learning_rate": 0.01}},
        }

    table(change, seeds=[0])
    assert "teachers/other.teacher/0" in trained
    known = tables.read(tmp_path / "toy.yaml").arms["other"].training
    assert known.model == {"name": "mlp", "hidden": [5]} and known.data == {**TABLE["data"], "train": 50}
    assert known.build_budget().optimiser.learning_rate == 0.01 and known.build_budget().updates == 10
    weights = read_tensors(tmp_path / "runs/reproduce/toy/seed_0/arms/other/product/model.safetensors")
    assert weights["classifier.weight"].shape == (10, 5)


def test_a_teacher_that_has_seen_an_arm_s_test_is_said_beside_its_figures(table, tmp_path) -> None:
    result, _ = table(lambda content: content["teachers"]["teacher"].update(data={"train": 500}), seeds=[0])
    # The same seed: of the teacher's 500 items the first 60 are the student's, the others its test.
    said = "of these 1,697 items its teachers saw 440 in train"
    assert result["arms"]["kd"]["beware"] == [said]
    assert not any("beware" in arm for arm in (result["arms"]["alone"], result["teachers"]["teacher"]))
    assert tables.as_text(result).count(f"beware: {said}") == 1
    fair, _ = table(seeds=[0])
    assert not any("beware" in arm for arm in fair["arms"].values())


def test_a_mapping_with_a_name_replaces_and_one_without_is_merged() -> None:
    from embodkd.evaluation.reproduce.file import merged

    base = {"epochs": 3, "optimiser": {"name": "adam", "eps": 1e-6, "learning_rate": 0.1}}
    assert merged(base, None) == base
    assert merged(base, {"optimiser": {"learning_rate": 1.0}})["optimiser"] == {
        **base["optimiser"],
        "learning_rate": 1.0,
    }
    assert merged(base, {"optimiser": {"name": "sgd"}}) == {"epochs": 3, "optimiser": {"name": "sgd"}}
    assert merged(base, {"updates": None}) == {**base, "updates": None}


def test_teachers_may_learn_from_teachers_and_be_chosen(table, trained) -> None:
    def change(content):
        small = {"model": {"name": "mlp", "hidden": [4]}, "method": {"name": "kd"}, "teachers": ["teacher"]}
        content["teachers"]["assistant"] = small
        content["arms"]["kd"]["teachers"] = ["assistant"]

    table(change, seeds=[0])
    assert trained == ["teachers/teacher/0", "teachers/assistant/0", "arms/alone/0", "arms/kd/0"]


def test_a_method_that_takes_one_teacher_is_told_when_it_gets_two(table) -> None:
    def change(content):
        content["teachers"]["second"] = content["teachers"]["teacher"]

    with pytest.raises(ValueError, match="takes one teacher, got 2: teacher, second"):
        table(change)


def test_measures_of_the_method_are_taken_of_every_arm(table, trained, monkeypatch) -> None:
    from embodkd.methods import get_method

    seen = []

    def measures(self, student, teacher, data):
        seen.append(teacher)
        return {"size": sum(p.numel() for p in student.parameters()), "hot": self.temperature}

    monkeypatch.setattr(get_method("kd"), "measures", measures, raising=False)
    result, _ = table(lambda content: content["arms"]["kd"]["method"].update(temperature=3.0))
    for arm in result["arms"].values():
        assert arm["measures"]["size"] == [8 * 65 + 90] * 2 and arm["measures"]["hot"] == [3.0, 3.0]
    assert len(seen) == 4 and all(isinstance(teacher, torch.nn.Module) for teacher in seen)
    trained.clear()
    table(lambda content: content["arms"]["kd"]["method"].update(temperature=5.0))
    assert trained == [cell for cell in ALL if "arms" in cell], "who measures has changed"


def test_what_the_steps_of_a_recipe_measure_is_kept_even_when_a_run_is_resumed(table, monkeypatch) -> None:
    from embodkd.methods import get_method

    kd, stops = get_method("kd"), []
    recipe = kd.recipe

    def stop(context):
        if not stops:
            stops.append(context.seed)
            raise KeyboardInterrupt
        return {"trust": 0.75}

    @functools.wraps(recipe)
    def measured(self, *arguments, **options):
        found = recipe(self, *arguments, **options)
        steps = [lambda context: {"trust": 0.25, "seed": context.seed, "bank/rows": 3.0}, *found.stages, stop]
        return dataclasses.replace(found, stages=tuple(steps))

    monkeypatch.setattr(kd, "recipe", measured)
    with pytest.raises(KeyboardInterrupt):
        table()
    measures = table()[0]["arms"]["kd"]["measures"]
    assert measures["trust"] == [0.75, 0.75] and measures["seed"] == [0, 1] and stops == [0]
    assert not any("/" in name or name in ("step", "time_s", "round") for name in measures)


def test_a_metric_may_be_a_measure_of_another_part(table) -> None:
    result, _ = table(lambda content: content.update(metric="nll@noise"))
    assert (
        result["better"] == "lower" and result["arms"]["kd"]["values"] == result["arms"]["kd"]["measures"]["nll@noise"]
    )
    with pytest.raises(ValueError, match="metric 'nll@nose' is not measured: did you mean 'nll@noise'"):
        table(lambda content: content.update(metric="nll@nose"))


def test_a_metric_that_only_the_method_measures_is_that_of_the_arms(table, monkeypatch) -> None:
    from embodkd.evaluation.reproduce.show import as_text
    from embodkd.methods import get_method

    monkeypatch.setattr(get_method("kd"), "measures", lambda self, *given: {"size": 7.0}, raising=False)
    result, _ = table(lambda content: content.update(metric="size"))
    assert [arm["values"] for arm in result["arms"].values()] == [[7.0, 7.0]] * 2
    assert result["teachers"]["teacher"]["mean"] is None and result["teachers"]["teacher"]["values"] == []
    assert "not measured" in as_text(result)


def test_a_corrupted_teacher_is_wrong_on_its_share_of_the_training_samples_only(table, tmp_path) -> None:
    table(lambda content: content["teachers"]["teacher"].update(corrupt={"share": 0.3}), seeds=[0])
    known = tables.read(tmp_path / "toy.yaml")
    cells = Cells(known, 0, tmp_path / "runs/reproduce/toy")
    teacher = cells.product(known.teachers["teacher"])
    assert isinstance(teacher, Corrupted) and teacher.classes == 10 and teacher.classifier.out_features == 10
    data = untrained(known.arms["kd"].training, 0).data
    train = dict(data.train.fields)
    clean, wrong = teacher.model(train["input"])["logits"], teacher(train)["logits"]
    differs = (clean != wrong).any(1)
    assert differs.sum() == round(0.3 * 60) and torch.equal(differs, teacher.wrong(train["sample_id"]))
    assert (clean[differs] != wrong[differs]).all(), "no class keeps its logit"
    assert torch.equal(clean.sort(1).values, wrong.sort(1).values)
    for part in (data.validation, data.test, *data.extra.values()):
        fields = dict(part.fields)
        assert torch.equal(teacher(fields)["logits"], teacher.model(fields["input"])["logits"])
    order = torch.randperm(60)
    shuffled = teacher({name: value[order] for name, value in train.items()})["logits"]
    assert torch.allclose(shuffled, wrong[order], atol=1e-5)
    again = cells.product(known.teachers["teacher"])
    assert torch.equal(again.ids, teacher.ids) and torch.equal(again.places, teacher.places)


def test_errors_with_a_rule_are_one_rotation_of_the_classes_for_all() -> None:
    ids, model, x_ND = torch.arange(100, 140), torch.nn.Linear(3, 5), torch.randn(40, 3)
    for same in (True, False):
        teacher = Corrupted(model, ids, 5, share=0.5, seed=0, same=same)
        pairs = zip(teacher({"input": x_ND, "sample_id": ids})["logits"], model(x_ND), strict=True)
        shift = [next(k for k in range(5) if torch.equal(a, b.roll(-k))) for a, b in pairs]
        assert [k > 0 for k in shift] == teacher.wrong(ids).tolist() and sum(k > 0 for k in shift) == 20
        assert (len({k for k in shift if k}) == 1) == same


def test_a_corrupted_teacher_needs_sample_ids_and_a_share() -> None:
    model = torch.nn.Linear(2, 3)
    with pytest.raises(ValueError, match="sample ids"):
        Corrupted(model, torch.arange(5), 3, share=0.5, seed=0)(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"corrupt\.share: 1\.5"):
        Corrupted(model, torch.arange(5), 3, share=1.5, seed=0)
    none = Corrupted(model, torch.arange(5), 3, share=0.0, seed=0)
    x = torch.randn(4, 2)
    assert torch.equal(none({"input": x, "sample_id": torch.arange(4)})["logits"], model(x))

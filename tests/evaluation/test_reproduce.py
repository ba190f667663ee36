"""A tiny table run end to end: what is stored, what is used again, what is trained anew, what is refused."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from embodkd.core.files import read_json, read_tensors
from embodkd.core.trainer import Trainer
from embodkd.evaluation import reproduce as tables
from embodkd.evaluation.reproduce import code
from embodkd.evaluation.reproduce.cells import Cells
from embodkd.evaluation.reproduce.corrupt import Corrupted
from embodkd.evaluation.reproduce.training import own_seed, untrained

TABLE: dict[str, Any] = {
    "slug": "toy",
    "title": "a toy",
    "data": {"name": "digits", "train": 60, "validation": 40, "corruptions": {"noise": 3}},
    "teachers": {
        "teacher": {
            "model": {"name": "mlp", "hidden": [16]},
            "method": {"name": "supervised"},
            "budget": {"updates": 30},
        }
    },
    "student": {"name": "mlp", "hidden": [8]},
    "budget": {"updates": 10, "batch_size": 30},
    "seeds": [0, 1],
    "arms": {
        "alone": {"role": "student_alone", "method": {"name": "supervised"}},
        "kd": {"role": "method", "method": {"name": "kd"}},
    },
    "checks": [
        {"claim": "one update is enough", "left": "kd.nll", "below": 100, "over": "every_seed"},
        {"claim": "it learns nothing", "left": "kd.accuracy", "below": "teacher.accuracy", "margin": -200},
    ],
}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`table(change)` writes the table, changed by a function, and fills it; `table.file` is its file."""
    monkeypatch.chdir(tmp_path)

    def fill(change=lambda content: None, **options):
        content = copy.deepcopy(TABLE)
        change(content)
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return tables.reproduce(tmp_path / "toy.yaml", quiet=True, **options)

    return fill


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells that are trained from now on, `arms/kd/0`; an entry `stop` in it interrupts the next one."""
    cells: list[str] = []
    fit = Trainer.fit

    def noted(self, recipe):
        if "stop" in cells:
            raise KeyboardInterrupt
        kind, name = self.run.path.parts[-2:]
        cells.append(f"{kind}/{name}/{self.run.path.parts[-3].removeprefix('seed_')}")
        return fit(self, recipe)

    monkeypatch.setattr(Trainer, "fit", noted)
    return cells


ALL = [f"{cell}/{seed}" for seed in (0, 1) for cell in ("teachers/teacher", "arms/alone", "arms/kd")]


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    """What a result says, without when, where and how long."""
    arms = {**result["arms"], **result["teachers"]}
    return {
        "measures": {name: arm["measures"] for name, arm in arms.items()},
        **{key: result[key] for key in ("comparisons", "checks")},
    }


def test_a_table_holds_what_it_promises(table, trained) -> None:
    result, whole = table()
    assert whole and trained == ALL
    assert list(result["arms"]) == ["alone", "kd"] and list(result["teachers"]) == ["teacher"]
    for arm in result["arms"].values():
        assert arm["seeds"] == [0, 1] and arm["values"] == arm["measures"]["accuracy"]
        assert arm["mean"] == pytest.approx(sum(arm["values"]) / 2)
        assert arm["ci95"][0] <= arm["mean"] <= arm["ci95"][1]
        assert "accuracy@noise" in arm["measures"] and arm["minutes"] > 0
    (compared,) = result["comparisons"]
    own, other = (result["arms"][name]["values"] for name in ("kd", "alone"))
    assert compared["differences"] == [a - b for a, b in zip(own, other, strict=True)]
    assert compared["arm"] == "kd" and compared["against"] == "alone"
    assert [check["passed"] for check in result["checks"]] == [True, False]
    facts = result["manifest"]
    assert facts["threads"] == 1 and facts["hardware"]["cores"] and facts["versions"]["torch"]
    assert {"command", "git_commit", "date"} <= set(facts)
    text = tables.as_text(result)
    assert "holds  one update is enough" in text and "FAILS  it learns nothing" in text


def test_nothing_is_trained_twice_and_the_numbers_stay(table, trained) -> None:
    first, _ = table()
    trained.clear()
    second, _ = table()
    assert trained == [] and numbers(first) == numbers(second)


def test_an_interrupted_table_goes_on_and_ends_in_the_same_numbers(table, trained, monkeypatch, tmp_path) -> None:
    whole, _ = table(run=tmp_path / "whole")
    trained.clear()
    fit, left = Trainer.fit, 4

    def killed(self, recipe):
        nonlocal left
        left -= 1
        if left == 0:
            # Half of the cell is done: it was checkpointed after its only stage, and never measured.
            fit(self, recipe)
            raise KeyboardInterrupt
        return fit(self, recipe)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "fit", killed)
        table(run=tmp_path / "broken")
    assert trained == ALL[:4]
    again, _ = table(run=tmp_path / "broken")
    assert trained == ALL[:4] + ALL[3:] and numbers(again) == numbers(whole)


def test_a_changed_arm_is_trained_anew_and_nothing_else(table, trained) -> None:
    first, _ = table()
    trained.clear()

    def change(content):
        content["arms"]["kd"]["method"]["temperature"] = 2.0

    second, _ = table(change)
    assert trained == ["arms/kd/0", "arms/kd/1"]
    assert numbers(first)["measures"]["kd"] != numbers(second)["measures"]["kd"]
    assert numbers(first)["measures"]["alone"] == numbers(second)["measures"]["alone"]


def test_a_changed_teacher_is_trained_anew_with_all_who_learn_from_it(table, trained) -> None:
    table()
    trained.clear()
    table(lambda content: content["teachers"]["teacher"]["budget"].update(updates=31))
    assert trained == [cell for cell in ALL if "alone" not in cell]


def test_cells_of_other_code_are_not_mixed_in(table, trained, monkeypatch) -> None:
    table()
    trained.clear()
    monkeypatch.setattr(code, "_known", {})
    monkeypatch.setattr(code, "_file", other := _Edited(code._file, "embodkd.methods.kd"))
    table()
    assert other.read and trained == ["arms/kd/0", "arms/kd/1"]


class _Edited:
    """Source files as they are, but for one that has another content."""

    def __init__(self, file, module: str) -> None:
        self.file, self.module, self.read = file, module, False

    def __call__(self, module: str):
        if module != self.module:
            return self.file(module)
        self.read = True
        return self

    def read_bytes(self) -> bytes:
        return self.file(self.module).read_bytes() + b"\n# edited\n"

    def read_text(self, encoding: str) -> str:
        return self.read_bytes().decode()


def test_the_code_of_a_cell_is_what_its_training_imports() -> None:
    found = code.reached(["embodkd.evaluation.reproduce.cells", "embodkd.methods.kd"])
    assert {"embodkd.methods.kd", "embodkd.core.trainer", "embodkd.core.terms.logits", "embodkd.models.mlp"} <= found
    assert not {"embodkd.methods.supervised", "embodkd.core.rollout", "embodkd.evaluation.reproduce.show"} & found


def test_seeds_side_by_side_give_the_same_numbers(table) -> None:
    alone, _ = table(run="one")
    beside, _ = table(run="two", jobs=2)
    assert numbers(alone) == numbers(beside)


def test_a_seed_that_fails_in_its_own_process_says_why(table) -> None:
    def change(content):
        content["budget"]["optimiser"] = {"name": "sgd", "learning_rate": 1e30}

    with pytest.raises(ValueError, match=r"seed [01] stopped: .*not finite.*log.txt"):
        table(change, jobs=2)


def test_a_part_of_a_table_is_shown_but_is_not_the_whole(table, trained) -> None:
    result, whole = table(seeds=[1], arms=["kd"])
    assert not whole and trained == ["teachers/teacher/1", "arms/kd/1"]
    assert result["arms"]["kd"]["ci95"] is None and result["comparisons"] == []
    json.dumps(result, allow_nan=False)


def test_more_seeds_than_the_table_has_are_the_whole_and_only_they_are_trained(table, trained) -> None:
    table()
    trained.clear()
    result, whole = table(seeds=[0, 1, 2])
    assert whole and [cell[-1] for cell in trained] == ["2", "2", "2"] and result["seeds"] == [0, 1, 2]


def test_two_processes_do_not_fill_one_seed(table, tmp_path) -> None:
    table(seeds=[0])
    with (
        Cells(tables.read(tmp_path / "toy.yaml"), 1, Path("runs/reproduce/toy")),
        pytest.raises(ValueError, match="another"),
    ):
        table(seeds=[1])


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


def test_a_mapping_with_a_name_replaces_and_one_without_is_merged() -> None:
    from embodkd.evaluation.reproduce.read import merged

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


def test_a_corrupted_teacher_needs_sample_ids_and_a_share() -> None:
    model = torch.nn.Linear(2, 3)
    with pytest.raises(ValueError, match="sample ids"):
        Corrupted(model, torch.arange(5), 3, share=0.5, seed=0)(torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"corrupt\.share: 1\.5"):
        Corrupted(model, torch.arange(5), 3, share=1.5, seed=0)
    none = Corrupted(model, torch.arange(5), 3, share=0.0, seed=0)
    x = torch.randn(4, 2)
    assert torch.equal(none({"input": x, "sample_id": torch.arange(4)})["logits"], model(x))


def put(path: str, value: Any):
    def change(content):
        *inner, last = path.split(".")
        for key in inner:
            content = content[key]
        content[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sedes", [1], "unknown key 'sedes'.*'seeds'"),
        ("arms.kd.mehtod", {}, "arms.kd: unknown key 'mehtod'.*'method'"),
        ("arms.kd.role", "metod", "arms.kd.role: 'metod'.*'method'"),
        ("arms.kd.method.temprature", 1.0, "kd.method: unknown key 'temprature'.*'temperature'"),
        ("arms.kd.method.name", "supervise", "unknown method 'supervise'.*'supervised'"),
        ("arms.kd.method", {"temperature": 1.0}, "kd.method: lacks its name"),
        ("arms.kd.method.name", "dagger", "'dagger' is of domain robot"),
        ("arms.kd.teachers", ["techer"], "arms.kd.teachers: there is no 'techer'.*'teacher'"),
        ("arms.kd.role", "baseline", "one needs role: method"),
        ("arms.a.b", {"role": "baseline", "method": {"name": "kd"}}, "'a.b': arms and teachers need"),
        ("arms.teacher", {"role": "baseline", "method": {"name": "kd"}}, "'teacher': arms and teachers need"),
        ("teachers.teacher.modle", {}, "teachers.teacher: unknown key 'modle'.*'model'"),
        ("teachers.teacher.budget.epoch", 3, "teacher.budget: unknown key 'epoch'.*'epochs'"),
        ("budget.optimiser", {"rate": 3}, "optimiser: unknown key 'rate'"),
        ("student.hiden", [3], "model mlp: unknown key 'hiden'.*'hidden'"),
        ("data.tran", 3, "data digits: unknown key 'tran'.*'train'"),
        ("checks", [{"claim": "c", "left": "dk.accuracy", "above": 1}], "check 'c': there is no 'dk'.*'kd'"),
        ("checks", [{"claim": "c", "lft": "kd.accuracy", "above": 1}], r"checks\[0\]: unknown key 'lft'.*'left'"),
        ("seeds", [], "seeds must be different and at least one"),
        ("margin", 0.0, "margin must be positive"),
    ],
)
def test_a_mistake_in_the_file_is_named_before_anything_is_trained(table, trained, path, value, said) -> None:
    change = put(path, value)
    if path == "arms.a.b":

        def change(content):
            content["arms"]["a.b"] = value

    with pytest.raises(ValueError, match=said):
        table(change)
    assert trained == []


def test_a_file_that_is_no_table_is_refused(tmp_path) -> None:
    for text in ("- 1\n", "a: [\n"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ValueError, match="bad.yaml"):
            tables.read(tmp_path / "bad.yaml")
    with pytest.raises(ValueError, match=r"nowhere\.yaml: cannot be read"):
        tables.read(tmp_path / "nowhere.yaml")


def test_a_result_is_written_whole_with_its_numbers_on_one_line(table, tmp_path) -> None:
    result, _ = table(seeds=[0])
    result["manifest"]["command"] = ["embodkd", "seeds=[0, 1]"]
    file = tables.write(result, tmp_path / "new" / "toy.json")
    assert read_json(file) == result
    assert '"seeds": [0],' in file.read_text()

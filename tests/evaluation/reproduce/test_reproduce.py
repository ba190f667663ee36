"""A small table run end to end: what is stored, what is used again, what is trained anew."""

from __future__ import annotations

import json
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path

import pytest
from small_table import ALL, numbers

from embodkd.cli.keys import folder, options
from embodkd.core import Trainer
from embodkd.evaluation import reproduce as tables
from embodkd.evaluation.reproduce import run, training
from embodkd.evaluation.reproduce.cells import Cells, judges
from embodkd.evaluation.reproduce.stale import RUNS_A_CELL
from embodkd.evaluation.tables import order as order_module
from embodkd.evaluation.tables.sources import Sources, sources


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
    assert result["arms"]["kd"]["parameters"] == [64 * 8 + 8 + 8 * 10 + 10] * 2
    assert result["config"] == tables.read("toy.yaml").config() and len(result["sources"]) == 32
    facts = result["manifest"]
    assert facts["threads"] == 1 and facts["hardware"]["cores"] and facts["versions"]["torch"]
    assert {"command", "git_commit", "date"} <= set(facts)
    text = tables.as_text(result)
    assert "holds      one update is enough" in text and "FAILS      it learns nothing" in text


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


def test_cells_of_other_sources_are_not_mixed_in(table, trained, monkeypatch, tmp_path) -> None:
    table()
    trained.clear()
    files = dict(sources().files)
    edited = tmp_path / "kd.py"
    edited.write_bytes(files["embodkd.methods.kd"].read_bytes() + b"\n# edited\n")
    read = Sources({**files, "embodkd.methods.kd": edited})
    monkeypatch.setattr(training, "sources", lambda: read)
    table()
    assert trained == ["arms/kd/0", "arms/kd/1"]


def test_the_sources_of_a_cell_are_what_its_training_runs() -> None:
    config = {"data": {"name": "digits"}, "model": {"name": "mlp"}, "method": {"name": "kd"}}
    found = sources().reached([RUNS_A_CELL], config)
    reached = {"methods.kd", "core.engine.trainer", "core.terms.logits", "models.mlp", "data.digits"}
    assert {f"embodkd.{name}" for name in reached} <= found
    strangers = {"methods.supervised", "core.sources.rollout", "evaluation.reproduce.show", "models.cnn", "data.photos"}
    assert not {f"embodkd.{name}" for name in strangers} & found


def test_cells_side_by_side_give_the_same_numbers(table) -> None:
    alone, _ = table(run="one")
    beside, _ = table(run="two", jobs=2)
    assert numbers(alone) == numbers(beside)


@pytest.mark.parametrize("slug", options("reproduce"))
def test_no_cell_begins_before_the_teachers_that_it_is_trained_or_measured_by(slug, monkeypatch, tmp_path) -> None:
    """Side by side, in the worst order that is allowed: whoever was begun last ends first."""
    table, order, ended = tables.read(folder() / "reproduce" / f"{slug}.yaml"), [], set()
    monkeypatch.setattr(run, "read", lambda *given: table)
    monkeypatch.setattr(run, "untrained", lambda *given: None)
    monkeypatch.setattr(run, "_result", lambda *given: {})
    judged_by = judges(table)

    class Late:
        def submit(self, make, cell):
            future = Future()
            training, seed = cell
            asked = [training, *([] if training.teaches else judged_by)]
            needed = {f"{teacher.name}/{seed}" for one in asked for teacher in one.teachers.values()}
            assert needed <= ended, f"{training.name}/{seed} begins before {', '.join(sorted(needed - ended))}"
            order.append((f"{training.name}/{seed}", future))
            return future

    def wait(running, return_when):
        name, future = order.pop()
        ended.add(name)
        future.set_result(None)
        return {future}, None

    monkeypatch.setattr(order_module, "wait", wait)
    monkeypatch.setattr(run, "workers", lambda jobs: nullcontext(Late()))
    tables.reproduce("any.yaml", run=tmp_path, jobs=3, quiet=True)
    trainings = len(table.teachers) + len(table.arms)
    assert len(ended) >= trainings * len(table.seeds)


def test_a_cell_that_fails_in_its_own_process_says_why(table) -> None:
    def change(content):
        content["budget"]["optimiser"] = {"name": "sgd", "learning_rate": 1e30}

    with pytest.raises(FloatingPointError, match="not finite") as caught:
        table(change, jobs=2, seeds=[0], arms=["alone"])
    assert any(note.startswith("while training") and "with seed" in note for note in caught.value.__notes__)


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

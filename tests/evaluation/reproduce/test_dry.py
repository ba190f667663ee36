"""A dry run builds what a real run builds, makes updates, stores nothing, and fails where the real run would."""

import copy
from dataclasses import replace

import pytest
import torch
import yaml
from small_table import TABLE

from embodkd.cli.keys import folder, options
from embodkd.evaluation import reproduce as tables
from embodkd.evaluation.reproduce.dry import dry_run, small
from embodkd.evaluation.reproduce.training import untrained


@pytest.fixture
def tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(change=lambda content: None, **options):
        content = copy.deepcopy(TABLE)
        change(content)
        (tmp_path / "toy.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return dry_run(tmp_path / "toy.yaml", said=lambda line: None, **options)

    return run


def test_every_training_makes_two_updates_and_is_measured_and_nothing_is_stored(tried, tmp_path):
    def change(content):
        content["arms"]["kd"]["teachers"] = {"teacher": {"model": {"name": "mlp", "hidden": [3]}}}

    rows = tried(change)
    assert [row["name"] for row in rows] == ["teacher", "alone", "kd.teacher", "kd"]
    assert all(row["updates"] == 2 and 0 <= row["measures"]["accuracy"] <= 100 for row in rows)
    assert [row["parameters"] for row in rows][:2] == [65 * 16 + 17 * 10, 65 * 8 + 9 * 10]
    assert [file.name for file in tmp_path.iterdir()] == ["toy.yaml"]


def test_what_a_real_run_would_fail_at_fails(tried):
    with pytest.raises(ValueError, match="model cnn: widths"):
        tried(lambda content: content.update(student={"name": "cnn", "widths": [1] * 6}))
    with pytest.raises(FloatingPointError, match="not finite"):
        tried(lambda content: content["budget"].update(optimiser={"name": "sgd", "learning_rate": 1e38}))


def test_the_measures_of_the_method_are_tried_too(tried, monkeypatch):
    from embodkd.methods import get_method

    def measures(self, student, teacher, data):
        return {"size": sum(p.numel() for p in teacher.parameters()) - sum(p.numel() for p in student.parameters())}

    monkeypatch.setattr(get_method("kd"), "measures", measures, raising=False)
    sizes = [row["measures"].get("size") for row in tried()]
    assert sizes == [None, 8 * 75, 8 * 75]


@pytest.fixture
def undrawn(monkeypatch):
    """First weights are noughts: most of the time of building a full model is a hundred million draws."""

    def noughts(weight, *_, **__):
        with torch.no_grad():
            return weight.zero_()

    for name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_uniform_"):
        monkeypatch.setattr(torch.nn.init, name, noughts)


@pytest.mark.parametrize("name", options("full"))
def test_every_full_table_can_be_built_without_its_data(name, undrawn):
    """All of a dry run but the updates: `embodkd reproduce SLUG full=true dry_run=true` makes those."""
    table = tables.read(folder() / "full" / f"{name}.yaml")
    for arm in table.arms.values():  # each builds its teachers, too
        built = untrained(small(replace(arm.training, trainer={})), 0)
        assert built.data.train.size() <= 300, "the download was not replaced"


def test_an_arm_of_a_full_table_makes_updates():
    rows = dry_run(folder() / "full" / "nd.yaml", arms=["nd"], said=lambda line: None)
    assert [row["name"] for row in rows] == ["teacher", "nd"]
    assert all(row["updates"] == 2 for row in rows) and rows[0]["parameters"] == 861_620


def test_only_the_arms_asked_for_are_tried(tried):
    assert [row["name"] for row in tried(arms=["alone"])] == ["teacher", "alone"]
    with pytest.raises(ValueError, match="arms: toy has no arm 'alnoe': did you mean 'alone'"):
        tried(arms=["alnoe"])

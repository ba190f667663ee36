"""Models that lie in parts on two processes become what one process makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharded
from ranked import ranked
from safetensors.torch import load_file

from embodkd.core import RunFolder

pytest.importorskip("transformers", reason="needs transformers (extra: language)")
LOSS, RESUMED = 4.8e-7, 2.4e-7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("two")
    with chdir(where):
        assert sharded.command(sharded.TEACHER)[0] == 0
    return where


@pytest.fixture(scope="module")
def two(folder: Path) -> list[dict[str, Any]]:
    """What each of two ranks found."""
    return ranked(sharded.everything, folder)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process makes."""
    where = tmp_path_factory.mktemp("one")
    return {name: sharded.trained(name, where / name) for name in sharded.RECIPES}


def numbers(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All that was logged but times and places, by update and name."""
    for row in found["logged"]:
        for name, value in row.items():
            if name not in ("step", "time_s", "round"):
                yield f"update {row['step']}, {name}", value


def furthest(found: dict[str, Any], wanted: dict[str, Any]) -> float:
    """The largest difference in losses and norms."""
    ours, theirs = dict(numbers(found)), dict(numbers(wanted))
    assert ours.keys() == theirs.keys() and ours
    return max(abs(ours[name] - theirs[name]) for name in ours)


def apart(found: dict[str, Any], wanted: dict[str, Any]) -> float:
    """The largest difference in weights."""
    ours, theirs = found["weights"], wanted["weights"]
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(np.subtract(ours[name], theirs[name])).max(initial=0)) for name in theirs)


@pytest.mark.parametrize("name", sharded.RECIPES)
def test_losses_are_those_of_one_process(one, two, name):
    assert furthest(two[0][name], one[name]) <= LOSS


@pytest.mark.parametrize("name", sharded.RECIPES)
def test_students_are_those_of_one_process_and_whole_on_every_rank(one, two, name):
    assert two[0][name]["weights"] == two[1][name]["weights"]
    assert two[0][name]["kinds"] == one[name]["kinds"]
    assert apart(two[0][name], one[name]) <= 1e-5


def test_teachers_alone_may_lie_in_parts(one, two):
    assert furthest(two[0]["teachers"], one["language"]) <= LOSS


def test_what_every_process_holds_is_logged_as_the_share_of_all(one, two):
    assert furthest(two[0]["replicated"], one["averaged"]) <= LOSS


@pytest.mark.parametrize("name", sharded.KILLED)
def test_two_processes_go_on_to_the_same_bits(two, name):
    whole, resumed = two[0][name], two[0][f"resumed_{name}"]
    assert resumed["weights"] == two[1][f"resumed_{name}"]["weights"]
    assert dict(numbers(resumed)) == dict(numbers(whole))
    assert resumed["weights"] == whole["weights"]


@pytest.mark.parametrize("name", sharded.KILLED)
def test_one_process_goes_on_with_what_two_left(folder, two, name):
    found = sharded.trained(name, folder / f"alone_{name}", resume=True, shard="all", **sharded.LIKE.get(name, {}))
    assert furthest(found, two[0][f"resumed_{name}"]) <= RESUMED


def test_a_checkpoint_in_parts_is_safetensors_and_json_alone(folder, two):
    shards = next((folder / "alone_language/checkpoints").glob("step_*/shards"))
    files = [load_file(file) for file in sorted(shards.glob("*.safetensors"))]
    assert len(files) == 2 and {name.split(".")[0] for name in files[0]} == {"model", "optimiser"}
    stored = sum(value.numel() for file in files for name, value in file.items() if name.startswith("model."))
    assert stored >= sum(np.size(value) for value in two[0]["language"]["weights"].values())
    kinds = {file.suffix for file in folder.rglob("checkpoints/**/*") if file.is_file()}
    assert kinds == {".safetensors", ".json", ".sha256"}


def test_where_one_process_cannot_write_its_part_all_say_so_and_the_former_checkpoint_stays(folder, two):
    assert all("full" in found["full"] and "No space left on device" in found["full"] for found in two)
    assert all("free some space and start again with resume=true" in found["full"] for found in two)
    (left,) = (folder / "full/checkpoints").glob("*")
    assert left.name == "step_3"
    found = sharded.trained("language", folder / "full", resume=True, shard="all")
    assert furthest(found, two[0]["language"]) <= RESUMED


def test_a_part_that_is_damaged_is_said_and_the_former_checkpoint_taken(folder, two, tmp_path):
    where = shutil.copytree(folder / "stopped_language", tmp_path / "run")
    *_, former, newest = sorted((where / "checkpoints").glob("step_*"), key=lambda path: int(path.name[5:]))
    part = next((newest / "shards").glob("shard-00002-*.safetensors"))
    *kept, last = part.read_bytes()
    part.write_bytes(bytes([*kept, last ^ 1]))
    with (
        pytest.warns(UserWarning, match=f"{part.name}.*{former.name} is taken"),
        RunFolder.open(where, {}, resume=True) as run,
    ):
        assert run.latest_checkpoint().path == former


@pytest.mark.parametrize("name", sharded.READERS)
def test_who_reads_a_part_of_a_weight_is_told(two, name):
    assert [found["refused"][name].startswith("trainer.shard: something reads") for found in two] == [True, True]


def test_the_command_makes_the_student_that_one_process_makes(folder, two):
    assert [found["command"][0] for found in two] == [0, 0] and not two[1]["command"][1]
    with chdir(folder):
        assert sharded.command([*sharded.COMMAND, "run=runs/whole"])[0] == 0
        code, said = sharded.command(["evaluate", "runs/sharded", "part=validation", "torch_threads=1"])
    assert code == 0 and "runs/sharded" in said
    ours, theirs = (load_file(folder / "runs" / run / "model/model.safetensors") for run in ("sharded", "whole"))
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, atol=1e-5, err_msg=name)
    assert "shard: all" in (folder / "runs/sharded/config.yaml").read_text()
    assert json.loads((folder / "runs/sharded/manifest.json").read_text())["finished"]

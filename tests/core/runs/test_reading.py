"""Whatever a file from outside holds, it is read as its form wants it, or one sentence says which file and where."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, TypedDict

import pytest
from damages import WHOLE, YAML

from embodkd.core.config.ranges import Count
from embodkd.core.runs.checkpoint import newest_checkpoint, write_checkpoint
from embodkd.core.runs.digests import write_digest
from embodkd.core.runs.metrics import read_metrics
from embodkd.core.runs.reading import read_json, read_lines, read_text, read_yaml


class Form(TypedDict):
    name: str
    counts: list[Count]


READERS = {
    "run.json": lambda file: read_json(file, Form),
    "run.yaml": lambda file: read_yaml(file, Form),
    "run.jsonl": lambda file: read_lines(file, Form),
}
GOOD = '{"name": "a", "counts": [1, 2]}\n'
HARMLESS = {
    "run.json": {"a mark in front"},
    "run.yaml": {"a mark in front"},
    # no file says nothing, and half a line may be that of a run that goes on
    "run.jsonl": {"a mark in front", "missing", "empty", "cut in half", "zeros", "deep"},
}


@pytest.mark.parametrize("name", READERS)
def test_a_good_file_is_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(GOOD)
    said = READERS[name](tmp_path / name)
    assert said == ([{"name": "a", "counts": [1, 2]}] if name == "run.jsonl" else {"name": "a", "counts": [1, 2]})


@pytest.mark.parametrize("fault", [*WHOLE, *YAML])
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_named_in_one_short_sentence(name: str, fault: str, tmp_path: Path) -> None:
    if fault not in WHOLE and name != "run.yaml":
        pytest.skip("no such fault here")
    file = tmp_path / name
    file.write_text(GOOD)
    damage = {**YAML, **WHOLE}[fault]
    damage(file)
    if fault == "locked" and os.access(file, os.R_OK):
        pytest.skip("nothing is locked for root")
    signal.alarm(20)  # a pipe that is waited for
    try:
        if fault in HARMLESS[name]:
            READERS[name](file)
            return
        with pytest.raises(ValueError) as caught:
            READERS[name](file)
    finally:
        signal.alarm(0)
        if fault == "locked":
            file.chmod(0o644)
    said = str(caught.value)
    assert said.startswith(str(file)) and len(said.removeprefix(str(file))) < 400 and "\n" not in said, said
    assert any(advice in said for advice in ("restore it", "remove it")), said


@pytest.mark.parametrize(
    "content, field",
    [
        ('{"counts": []}', "name"),
        ('{"name": 3, "counts": []}', "name"),
        ('{"name": "a", "counts": [1, 0]}', "counts[1]"),
        ('{"name": "a", "counts": [1, NaN]}', "counts[1]"),
        ('{"name": "a", "counts": {"0": 1}}', "counts"),
    ],
)
def test_the_field_is_named(content: str, field: str, tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(ValueError, match="a.json: ") as caught:
        read_json(file, Form)
    assert field in str(caught.value)


def test_what_is_shown_of_a_wrong_value_is_short(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"name": [' + ", ".join(["1"] * 10**5) + "]}")
    with pytest.raises(ValueError) as caught:
        read_json(file, dict[str, str])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("line", ['{"step": "1", "time_s": 0}', '{"time_s": 0}', '{"step": 1, "time_s": 0, "x": [1]}'])
def test_a_line_of_metrics_that_is_none_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(f'{{"step": 0, "time_s": 0, "loss": null}}\n{line}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_metrics(file)


def test_a_text_is_read_whatever_its_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("ä" * 10**5)
    assert len(read_text(tmp_path / "a")) == 10**5


def test_a_checkpoint_of_another_form_gives_way_to_the_one_before(tmp_path: Path) -> None:
    form: Any = Form
    for step in (1, 2):
        state = {"name": "a", "counts": [step]}
        write_checkpoint(tmp_path, step, {}, state, minutes=0.0, metrics_bytes=0)
    file = tmp_path / "step_2" / "state.json"
    file.write_text(file.read_text().replace('"a"', "7"))
    write_digest(file)
    with pytest.warns(UserWarning, match="state.name.*step_1 is taken instead"):
        found = newest_checkpoint(tmp_path, form)
    assert found is not None and found.step == 1 and found.state["counts"] == [1]

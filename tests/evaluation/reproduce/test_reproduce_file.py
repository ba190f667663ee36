"""Tables as files: mistakes are named before anything is trained, results are written whole."""

from __future__ import annotations

from typing import Any

import pytest

from embodkd.core.runs.reading import read_json
from embodkd.evaluation import reproduce as tables


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
        ("arms.kd.method.name", "dagger", "'dagger' learns in a simulated task"),
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
    with pytest.raises(ValueError, match=r"nowhere\.yaml: no such file"):
        tables.read(tmp_path / "nowhere.yaml")


def test_a_result_is_written_whole_with_its_numbers_on_one_line(table, tmp_path) -> None:
    result, _ = table(seeds=[0])
    result["manifest"]["command"] = ["embodkd", "seeds=[0, 1]"]
    file = tables.write(result, tmp_path / "new" / "toy.json")
    assert read_json(file) == result
    assert '"seeds": [0],' in file.read_text()

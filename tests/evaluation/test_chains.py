"""Tables of chains: what depends on what, what is stored, what a second call leaves alone, what a failure holds up."""

import json
from pathlib import Path

import pytest

from embodkd.core.runs.files import write_json
from embodkd.evaluation import chains

FILE = """
slug: toy
tables:
  main:
    grid: {task: [easy, hard], seed: [0, 1]}
    set: {task: {easy: {steps: 10}, hard: {steps: 20}}}
    cells:
      demos: {command: "record task={task} seed={seed} run={run}"}
      base:
        after: [demos]
        command: "distill student demos={demos} steps={steps} run={run}"
        row: {policy: base, modality: state}
      probe: {after: [base], command: "evaluate policy={base} run={run}", row: {policy: probe}, only: {seed: [0]}}
"""


@pytest.fixture
def cells(tmp_path):
    file = tmp_path / "toy.yaml"
    file.write_text(FILE)
    return chains.read_chains(file, tmp_path / "runs")


@pytest.fixture
def calls(monkeypatch):
    """The commands that would have been run; each leaves a finished run folder, except in a folder called broken."""
    made = []

    def call(words):
        made.append(list(words))
        run = Path(next(w for w in words if w.startswith("run="))[4:])
        if "broken" in str(run):
            raise RuntimeError("no luck")
        run.mkdir(parents=True, exist_ok=True)
        write_json(run / "manifest.json", {"finished": "now", "minutes": 1.5, "git_commit": "abc", "cpus": 2})
        judged = {"success_rate": 0.5, "successes": 1, "episodes": 2, "ci95": [0.1, 0.9], "failures": {}}
        write_json(run / "evaluation.json", judged)

    monkeypatch.setattr(chains, "call", call)
    return made


def test_every_setting_has_its_cells_with_folders_and_values_filled_in(cells):
    assert list(cells)[:3] == ["easy/0/demos", "easy/0/base", "easy/0/probe"]
    assert "easy/1/probe" not in cells
    base = cells["hard/1/base"]
    assert base.command.split() == [
        "distill", "student", f"demos={cells['hard/1/demos'].run}", "steps=20", f"run={base.run}"
    ]  # fmt: skip
    assert base.after == ("hard/1/demos",)


def test_rows_come_in_the_files_order_with_setting_and_command_and_are_made_once(cells, calls, tmp_path):
    out = tmp_path / "toy.json"
    result, failed = chains.fill(cells, out, "toy", jobs=3)
    assert not failed and json.loads(out.read_text()) == result
    rows = result["tables"]["main"]
    assert [row["cell"] for row in rows] == [name for name, cell in cells.items() if cell.row]
    assert rows[0] | {"task": "easy", "seed": 0, "policy": "base", "minutes": 1.5, "successes": 1} == rows[0]
    assert rows[0]["commit"] == "abc" and rows[0]["manifest"]["cpus"] == 2
    assert rows[0]["command"].startswith("embodkd distill student demos=")
    before = len(calls)
    chains.fill(cells, out, "toy")
    assert len(calls) == before
    assert "easy base" in chains.as_text(result)


def test_what_is_needed_comes_first_and_only_that_is_run(cells, calls, tmp_path):
    chains.fill(cells, tmp_path / "toy.json", "toy", words=["hard/0/probe"])
    assert [words[0] for words in calls] == ["record", "distill", "evaluate"]


def test_a_whole_name_means_that_cell_and_a_part_all_that_contain_it(tmp_path, calls):
    file = tmp_path / "toy.yaml"
    file.write_text(FILE.replace("probe: {after", "base_probe: {after"))
    cells = chains.read_chains(file, tmp_path / "runs")
    result, _ = chains.fill(cells, tmp_path / "toy.json", "toy", words=["easy/0/base"])
    assert [row["cell"] for row in result["tables"]["main"]] == ["easy/0/base"]
    result, _ = chains.fill(cells, tmp_path / "toy.json", "toy", words=["easy/0/b"])
    assert [row["cell"] for row in result["tables"]["main"]] == ["easy/0/base", "easy/0/base_probe"]


def test_a_word_that_no_cell_contains_is_an_error(cells, calls, tmp_path):
    with pytest.raises(ValueError, match="no cell of toy has 'hrad' in its name; did you mean 'hard'"):
        chains.fill(cells, tmp_path / "toy.json", "toy", words=["hrad"])
    assert not (tmp_path / "toy.json").exists()


def test_a_failure_holds_up_what_comes_after_it_and_nothing_else(tmp_path, calls, capsys):
    file = tmp_path / "toy.yaml"
    file.write_text(FILE.replace("hard", "broken"))
    result, failed = chains.fill(chains.read_chains(file, tmp_path / "runs"), tmp_path / "toy.json", "toy")
    assert failed == 5
    assert {row["task"] for row in result["tables"]["main"]} == {"easy"}
    assert capsys.readouterr().err.count("no luck") == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("after: [demos]", "after: [demo]"), "no cell 'demo'"),
        (("{steps}", "{step}"), "nothing is called {step}"),
        (("command: \"record", "comand: \"record"), "did you mean"),
        (("{steps: 10}", "{base: 10}"), "'base' is a cell and a setting"),
    ],
    ids=["dependency", "placeholder", "key", "two meanings"],
)  # fmt: skip
def test_a_wrong_name_is_found_before_anything_runs(tmp_path, wrong, said):
    file = tmp_path / "toy.yaml"
    file.write_text(FILE.replace(*wrong))
    with pytest.raises(ValueError, match=said):
        chains.read_chains(file, tmp_path / "runs")

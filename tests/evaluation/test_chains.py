"""Tables of chains: what depends on what, what is stored, what a second call leaves alone, what a failure holds up."""

import json
import re
import shlex
from pathlib import Path

import pytest

from embodkd.core.runs.files import write_json
from embodkd.core.runs.reading import read_json
from embodkd.evaluation.chains import listing, read_chains
from embodkd.evaluation.report import write_tables
from embodkd.evaluation.tables import cell as cell_module
from embodkd.evaluation.tables import fill as fill_module
from embodkd.evaluation.tables.rows import Rows
from embodkd.evaluation.tables.sources import Sources

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
    return read_chains(file, tmp_path / "runs")


def resolve(command):
    """One file runs whatever is asked; the words are the config."""
    return "embodkd.core.config.registry", dict(word.split("=") for word in shlex.split(command)[1:] if "=" in word)


@pytest.fixture
def fill(tmp_path):
    def fill(cells, **options):
        rows = Rows(tmp_path / "toy.json", "toy", cells)
        failed = fill_module.fill(cells, rows, resolve, **options)
        return rows.load(), failed

    return fill


def changed(tmp_path, *replaced, runs="runs"):
    """The cells of the file with some words replaced."""
    file, text = tmp_path / "changed.yaml", FILE
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return read_chains(file, tmp_path / runs)


@pytest.fixture
def calls(monkeypatch):
    """The commands that would have been run; each leaves a finished run folder, except in a folder called broken."""
    made = []

    def call(words, *where):
        made.append(list(words))
        run = Path(next(w for w in words if w.startswith("run="))[4:])
        assert "resume=true" in words or not run.exists()
        if "broken" in str(run):
            raise RuntimeError("no luck")
        run.mkdir(parents=True, exist_ok=True)
        write_json(run / "manifest.json", {"finished": "now", "minutes": 1.5, "git_commit": "abc", "cpus": 2})
        judged = {"success_rate": 0.5, "successes": 1, "episodes": 2, "ci95": [0.1, 0.9], "failures": {}}
        write_json(run / "evaluation.json", judged)

    monkeypatch.setattr(fill_module, "call", call)
    return made


def test_every_setting_has_its_cells_with_folders_and_values_filled_in(cells):
    assert list(cells)[:3] == ["easy/0/demos", "easy/0/base", "easy/0/probe"]
    assert "easy/1/probe" not in cells
    base = cells["hard/1/base"]
    assert base.command.split() == [
        "distill", "student", f"demos={cells['hard/1/demos'].run}", "steps=20", f"run={base.run}"
    ]  # fmt: skip
    assert base.after == ("hard/1/demos",)


def test_rows_come_in_the_files_order_with_setting_and_command_and_are_made_once(cells, calls, fill, tmp_path):
    result, failed = fill(cells, jobs=3)
    assert not failed and json.loads((tmp_path / "toy.json").read_text()) == result
    rows = result["tables"]["main"]
    assert [row["cell"] for row in rows] == [name for name, cell in cells.items() if cell.facts]
    assert rows[0] | {"task": "easy", "seed": 0, "policy": "base", "minutes": 1.5, "successes": 1} == rows[0]
    assert rows[0]["commit"] == "abc" and rows[0]["manifest"]["cpus"] == 2
    assert rows[0]["command"].startswith("embodkd distill student demos=")
    before = len(calls)
    fill(cells)
    assert len(calls) == before
    assert "easy base" in listing(result) and "stale" not in listing(result)


def test_what_is_needed_comes_first_and_only_that_is_run(cells, calls, fill):
    fill(cells, words=["hard/0/probe"])
    assert [words[0] for words in calls] == ["record", "distill", "evaluate"]


def test_a_whole_name_means_that_cell_and_a_part_all_that_contain_it(tmp_path, calls, fill):
    cells = changed(tmp_path, ("probe: {after", "base_probe: {after"))
    result, _ = fill(cells, words=["easy/0/base"])
    assert [row["cell"] for row in result["tables"]["main"]] == ["easy/0/base"]
    result, _ = fill(cells, words=["easy/0/b"])
    assert [row["cell"] for row in result["tables"]["main"]] == ["easy/0/base", "easy/0/base_probe"]


def test_a_word_that_no_cell_contains_is_an_error(cells, calls, fill, tmp_path):
    with pytest.raises(ValueError, match="no cell has 'hrad' in its name; did you mean 'hard'"):
        fill(cells, words=["hrad"])
    assert not (tmp_path / "toy.json").exists()


def test_a_failure_holds_up_what_comes_after_it_and_nothing_else(tmp_path, calls, fill, capsys):
    result, failed = fill(changed(tmp_path, ("hard", "broken")))
    assert failed == 5
    assert {row["task"] for row in result["tables"]["main"]} == {"easy"}
    assert capsys.readouterr().err.count("no luck") == 2


def reasons(result):
    return {row["cell"]: row["stale"] for row in result["tables"]["main"] if "stale" in row}


def test_a_changed_command_keeps_its_row_as_stale_and_is_run_again_only_when_asked(cells, calls, fill, tmp_path):
    fill(cells)
    before, other = len(calls), changed(tmp_path, ("hard: {steps: 20}", "hard: {steps: 30}"))
    result, _ = fill(other)
    assert len(calls) == before
    assert reasons(result) == {
        "hard/0/base": 'another config: steps: "20", now "30"',
        "hard/0/probe": "what it comes after changed: hard/0/base",
        "hard/1/base": 'another config: steps: "20", now "30"',
    }
    assert "3 rows came from something else" in listing(result) and " 50.0*" in listing(result)
    # asked for: the old folder was made with 20 steps, so it is not used, and not lost
    result, _ = fill(other, words=["hard/0/base"], stale=True)
    assert [words[0] for words in calls[before:]] == ["distill"] and "steps=30" in calls[-1]
    assert reasons(result).keys() == {"hard/0/probe", "hard/1/base"}
    former = read_json(tmp_path / "runs/hard/1/base.mark.json")["digest"]
    aside = [folder.name for folder in (tmp_path / "runs/hard/0").iterdir() if folder.name.startswith("base.")]
    assert len(aside) == 2 and former not in aside


def test_a_row_is_stale_when_what_it_is_built_on_would_come_out_otherwise(cells, calls, fill, tmp_path):
    fill(cells)
    result, _ = fill(changed(tmp_path, ("record task", "record noise=1 task")))
    assert reasons(result)["easy/1/base"] == "what it comes after changed: easy/1/demos"
    # through a chain, too
    assert reasons(result).keys() == {row["cell"] for row in result["tables"]["main"]}


def test_a_row_holds_wherever_it_was_made(cells, calls, fill, tmp_path):
    fill(cells)
    before = len(calls)
    result, _ = fill(changed(tmp_path, runs="elsewhere"))
    assert not reasons(result) and len(calls) == before
    assert "runs/toy/easy/0/base" in result["tables"]["main"][0]["command"]


def test_edited_sources_make_rows_stale_but_only_those_that_reach_them(cells, calls, fill, tmp_path, monkeypatch):
    fill(cells)
    file = tmp_path / "registry.py"
    file.write_text("edited = True")
    read = Sources({"embodkd.core.config.registry": file})
    monkeypatch.setattr(cell_module, "sources", lambda: read)
    result, _ = fill(cells)
    assert set(reasons(result).values()) == {"other sources"}
    monkeypatch.undo()
    result, _ = fill(cells)
    assert not reasons(result)


def test_sources_edited_while_a_table_is_filled_do_not_run_under_the_former_mark(
    cells, calls, fill, tmp_path, capsys, monkeypatch
):
    file = tmp_path / "registry.py"
    file.write_text("before = True")
    read = Sources({"embodkd.core.config.registry": file})
    monkeypatch.setattr(cell_module, "sources", lambda: read)
    read.module("embodkd.core.config.registry")
    file.write_text("edited = True")
    _, failed = fill(cells, words=["easy/0/base"])
    assert failed == 2 and not calls and "embodkd.core.config.registry was edited" in capsys.readouterr().err


def test_a_row_without_a_mark_is_kept_and_stale(cells, calls, fill, tmp_path):
    fill(cells)
    stored = read_json(tmp_path / "toy.json")
    for row in stored["tables"]["main"]:
        del row["mark"]
    write_json(tmp_path / "toy.json", stored)
    result, _ = fill(cells)
    assert all("no mark" in reason for reason in reasons(result).values()) and len(reasons(result)) == 6


def test_a_finished_folder_of_unknown_origin_is_set_aside(cells, calls, fill, tmp_path):
    run = cells["easy/0/demos"].run
    run.mkdir(parents=True)
    write_json(run / "manifest.json", {"finished": "now", "minutes": 9, "git_commit": "old"})
    fill(cells, words=["easy/0/base"])
    assert [words[0] for words in calls] == ["record", "distill"]
    assert read_json(run.with_name("demos.unmarked") / "manifest.json")["git_commit"] == "old"


def test_a_half_done_folder_of_the_same_mark_goes_on(cells, calls, fill, tmp_path):
    fill(cells, words=["easy/0/base"])
    mark = tmp_path / "runs/easy/0/demos.mark.json"
    write_json(mark, {**read_json(mark), "finished": False})
    (tmp_path / "toy.json").unlink()
    before = len(calls)
    fill(cells, words=["easy/0/base"])
    assert [words[0] for words in calls[before:]] == ["record"] and "resume=true" in calls[before]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("after: [demos]", "after: [demo]"), "no cell 'demo'"),
        (("{steps}", "{step}"), "nothing is called {step}"),
        (("command: \"record", "comand: \"record"), "did you mean"),
        (("{steps: 10}", "{base: 10}"), "'base' is a cell and a setting"),
        (("after: [demos]", "after: []"), "its command names {demos}; say so in after, too"),
    ],
    ids=["dependency", "placeholder", "key", "two meanings", "unsaid dependency"],
)  # fmt: skip
def test_a_wrong_name_is_found_before_anything_runs(tmp_path, wrong, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        changed(tmp_path, wrong)


SYSTEMS = sorted((Path(__file__).parents[2] / "configs/systems").glob("*.yaml"))


@pytest.mark.parametrize("file", SYSTEMS, ids=lambda file: file.stem)
def test_every_stored_row_is_of_a_cell_and_has_a_mark_or_is_stale(file, tmp_path):
    results = Path(__file__).parents[2] / f"results/{file.stem}.json"
    cells = read_chains(file)
    rows = Rows(results, file.stem).by_cell()
    assert rows.keys() <= cells.keys() and all("mark" in row or row["stale"] for row in rows.values())
    page = write_tables(results, tmp_path / "page.html").read_text()
    assert all(name in page for name in rows)


def test_the_matrix_of_engines_is_a_page_too(tmp_path):
    results = Path(__file__).parents[2] / "results/transfer.json"
    assert "peg_hole-bullet in mujoco" in write_tables(results, tmp_path / "page.html").read_text()

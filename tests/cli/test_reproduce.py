"""`embodkd reproduce`: a table of one's own, what is written when, and the tables that come along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embodkd.cli.keys import folder, options
from embodkd.evaluation.reproduce import read

TABLE = """
slug: tiny
title: a tiny table
data: {name: digits, train: 40, validation: 20}
teachers:
  teacher: {model: {name: mlp, hidden: [8]}, method: {name: supervised}}
student: {name: mlp, hidden: [4]}
budget: {updates: 3, batch_size: 20}
seeds: [0, 1]
arms:
  alone: {role: student_alone, method: {name: supervised}}
  kd: {role: method, method: {name: kd}}
checks:
  - {claim: "a number", left: kd.accuracy, above: -1, over: every_seed}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(TABLE)
    return "tiny.yaml"


def test_a_whole_table_is_printed_and_written(embodkd, file, tmp_path) -> None:
    answer = embodkd("reproduce", file, "quiet=true")
    assert answer.code == 0, answer.err
    assert "tiny: a tiny table" in answer.out and "kd" in answer.out and "holds      a number" in answer.out
    result = json.loads((tmp_path / "results/tiny.json").read_text())
    assert result["slug"] == "tiny" and result["manifest"]["command"][:2] == ["embodkd", "reproduce"]


def test_a_part_of_it_is_not_written_unless_asked(embodkd, file, tmp_path) -> None:
    assert "not written" in embodkd("reproduce", file, "quiet=true", "seeds=[0]").out
    assert "not written" in embodkd("reproduce", file, "quiet=true", "seeds=1", "arms=kd").out
    assert not (tmp_path / "results").exists()
    assert embodkd("reproduce", file, "quiet=true", "seeds=[0]", "out=some/where.json").code == 0
    assert json.loads((tmp_path / "some/where.json").read_text())["seeds"] == [0]


def test_a_claim_that_fails_is_the_exit_code(embodkd, file, tmp_path) -> None:
    (tmp_path / file).write_text(TABLE.replace("above: -1", "above: 101"))
    answer = embodkd("reproduce", file, "quiet=true", "seeds=[0,1,2]")
    assert answer.code == 1 and "FAILS      a number" in answer.out


def test_an_undecided_claim_is_the_exit_code_of_a_whole_table_only(embodkd, file, tmp_path) -> None:
    (tmp_path / file).write_text(TABLE.replace("above: -1, over: every_seed", "above: 9"))
    answer = embodkd("reproduce", file, "quiet=true", "seeds=[0]")
    assert answer.code == 0 and "UNDECIDED  a number" in answer.out
    answer = embodkd("reproduce", file, "quiet=true")
    assert answer.code == 1 and "UNDECIDED  a number" in answer.out


def test_stale_tables_are_named_and_only_they_are_filled_again(embodkd, tmp_path, monkeypatch) -> None:
    """On a folder of tables of its own, instead of those that come along."""
    from embodkd.cli import reproduce as verb
    from embodkd.evaluation.reproduce import training
    from embodkd.evaluation.tables.sources import Sources, sources

    files = {"tiny": TABLE, "other": TABLE.replace("tiny", "other")}
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(verb, "options", lambda group: {"reproduce": tuple(files)}.get(group, ()))
    monkeypatch.setattr(verb, "table_file", lambda slug, group="reproduce": tmp_path / f"{slug}.yaml")

    def state() -> dict[str, str]:
        return dict(line.split(": ", 1) for line in embodkd("reproduce", "stale=mark").out.splitlines())

    assert set(state().values()) == {"not stored"} and not (tmp_path / "results").exists()
    assert embodkd("reproduce", "stale=remake", "quiet=true").code == 0
    assert set(state().values()) == {"as its file and the sources say"}
    # another config: that table alone, and of it only the arm that changed
    (tmp_path / "tiny.yaml").write_text(TABLE.replace("{name: kd}", "{name: kd, temperature: 2.0}"))
    assert "arms.kd.method.temperature: new" in state()["tiny"] and "as its file" in state()["other"]
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("cell.json")}
    assert embodkd("reproduce", "stale=remake", "quiet=true").code == 0
    made = {
        str(file.relative_to(tmp_path / "runs/reproduce")) for file in before if file.stat().st_mtime_ns != before[file]
    }
    assert made == {f"tiny/seed_{seed}/arms/kd/cell.json" for seed in (0, 1)}
    assert set(state().values()) == {"as its file and the sources say"}
    # other sources: both
    edited = tmp_path / "mlp.py"
    edited.write_bytes(sources().files["embodkd.models.mlp"].read_bytes() + b"\n# edited\n")
    read = Sources({**sources().files, "embodkd.models.mlp": edited})
    monkeypatch.setattr("embodkd.evaluation.reproduce.stale.source_files", lambda: read)
    assert set(state().values()) == {"filled by other sources"} and training.sources is sources


def test_what_is_to_be_done_about_stale_results_is_one_of_two_words(embodkd) -> None:
    answer = embodkd("reproduce", "stale=redo")
    assert answer.code == 2 and "'mark', 'remake'" in answer.err


@pytest.mark.parametrize(
    "words, said",
    [
        (["stale=mark", "seeds=[0]"], "seeds: stale=mark is about stored tables"),
        (["stale=remake", "dry_run=true"], "dry_run: stale=remake"),
        (["nd", "stale=remake", "arms=[nd]"], "arms: stale=remake"),
        (["tiny.yaml", "stale=mark"], "no table 'tiny.yaml' came along"),
        (["resip", "stale=mark", "dry_run=true"], "dry_run and stale"),
        (["dry_run=true"], "dry_run: of which table?"),
        (["out=here.json"], "out: of which table?"),
        (["resip", "dry_run=true", "arms=[nowhere]"], "no cell has 'nowhere'"),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(embodkd, words, said) -> None:
    answer = embodkd("reproduce", *words)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1


def test_the_state_of_one_table_alone(embodkd) -> None:
    answer = embodkd("reproduce", "nd", "stale=mark")
    assert answer.code == 0 and answer.out.startswith("nd: ") and answer.out.count("\n") == 1


def test_a_dry_run_of_a_system_tries_the_cells_asked_for(embodkd) -> None:
    counts = [
        int(embodkd("reproduce", "resip", "dry_run=true", *words).out.split()[1])
        for words in ([], ["arms=[peg_assembly/gripper/low/0]"])
    ]
    assert counts[0] > counts[1] > 0


def test_a_mistake_in_a_table_is_one_line_that_names_the_file(embodkd, file, tmp_path) -> None:
    (tmp_path / file).write_text(TABLE.replace("role: method,", "rol: method,"))
    answer = embodkd("reproduce", file)
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert all(part in answer.err for part in ("tiny.yaml", "arms.kd", "'rol'", "'role'"))


def test_an_error_says_which_arm_and_seed_it_was(embodkd, file, tmp_path) -> None:
    (tmp_path / file).write_text(
        TABLE.replace("updates: 3,", "updates: 3, optimiser: {name: sgd, learning_rate: 1.0e+30},")
    )
    answer = embodkd("reproduce", file, "quiet=true")
    assert answer.code == 2 and "not finite" in answer.err and "while training 'teacher' with seed 0" in answer.err


def test_without_a_slug_the_tables_are_listed(embodkd) -> None:
    answer = embodkd("reproduce")
    listed = [*options("reproduce"), *options("systems")]
    assert answer.code == 0 and [line.split()[0] for line in answer.out.splitlines()] == listed


# as many updates as the fine-tuning of the others, whose pre-training its baseline has, too
SHORTER = {("tinyvit", "alone")}


@pytest.mark.parametrize("group", ["reproduce", "full"])
def test_every_table_that_comes_along_is_one(group: str) -> None:
    """Known keys, methods, hyper-parameters and budgets, three seeds, a method beside the student alone."""
    assert options(group)
    for name in options(group):
        table = read(folder() / group / f"{name}.yaml")
        assert table.slug == name and table.title and len(table.seeds) >= 3 and table.checks
        roles = {arm.role for arm in table.arms.values()}
        # of a scene or a generator there is no student alone
        assert "method" in roles and roles & {"student_alone", "baseline"}
        training = table.arms[table.methods()[0]].training
        method = training.build_budget()
        for of, arm in table.arms.items():
            budget = arm.training.build_budget()
            length = {"epochs": method.epochs, "updates": method.updates}
            assert replace(budget, **length) == method, "arms differ in how long they are trained at most"
            # A method in several rounds may need longer baselines to be compared fairly, never shorter ones; on more
            # data as many updates are fewer epochs.
            if arm.training.data == training.data and (name, of) not in SHORTER:
                assert budget.epochs >= method.epochs and (budget.updates or 0) >= (method.updates or 0)


def test_a_system_refuses_the_keys_of_other_tables_and_says_how_to_choose(embodkd) -> None:
    for word in ("seeds=0", "trainer.device=cuda"):
        answer = embodkd("reproduce", "resip", word)
        assert answer.code == 2 and answer.err.startswith(f"embodkd: {word.split('=')[0].split('.')[0]}: ")
        assert "arms=[peg_assembly/gripper/low/0]" in answer.err

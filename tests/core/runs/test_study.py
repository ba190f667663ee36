"""A study is read from what Hydra's multirun leaves: which runs there are, and what sets them apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from embodkd.core.runs.study import groups_of, is_study, read_study, runs_at


def make(folder: Path, *runs: str, missing: str = "", more: tuple[str, ...] = ("steps=9",)) -> Path:
    """A study of runs of these names, asked for by their words and `more`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "multirun.yaml").write_text("hydra: {}\n")
    for name in runs:
        (folder / ".multirun" / name).mkdir(parents=True)
        (folder / ".multirun" / name / "overrides.yaml").write_text(yaml.safe_dump([*name.split(","), *more]))
        if name != missing:
            (folder / name).mkdir()
            (folder / name / "config.yaml").write_text("seed: 0\n")
    return folder


def test_runs_stand_in_natural_order_with_what_sets_them_apart(tmp_path: Path) -> None:
    study = read_study(make(tmp_path / "s", "seed=10,lr=0.1", "seed=2,lr=0.1", "seed=2,lr=0.01"))
    assert [run.folder.name for run in study.runs] == ["seed=2,lr=0.01", "seed=2,lr=0.1", "seed=10,lr=0.1"]
    assert study.swept == ("seed", "lr")
    assert [(run.seed, run.group) for run in study.runs[:2]] == [(2, {"lr": "0.01"}), (2, {"lr": "0.1"})]


def test_a_run_that_was_never_begun_is_no_run(tmp_path: Path) -> None:
    study = read_study(make(tmp_path / "s", "seed=0", "seed=1", missing="seed=1"))
    assert [run.folder.name for run in study.runs] == ["seed=0"] and study.runs[0].choices == {"seed": "0"}


def test_how_a_run_was_gone_on_with_does_not_set_it_apart(tmp_path: Path) -> None:
    folder = make(tmp_path / "s", "seed=0", "seed=1")
    (folder / ".multirun/seed=1/overrides.yaml").write_text("[seed=1, steps=9, resume=true, quiet=true]")
    assert read_study(folder).swept == ("seed",)


def test_runs_are_named_by_index_by_choice_or_as_a_whole(tmp_path: Path) -> None:
    folder = make(tmp_path / "s", *(f"student={s},seed={k}" for s in ("blind", "mlp") for k in (0, 1)))

    def named(text: str) -> list[str]:
        return [run.folder.name for run in runs_at(folder / text) or ()]

    assert named("3") == ["student=mlp,seed=1"]
    assert named("seed=1,student=blind") == named("student=blind,seed=1") == ["student=blind,seed=1"]
    assert named("student=mlp") == ["student=mlp,seed=0", "student=mlp,seed=1"]
    assert len(named("")) == 4
    for wrong in ("4", "seed=2", "sed=1"):
        with pytest.raises(ValueError, match=r"none of its runs is .*student=blind,seed=0"):
            named(wrong)


def test_what_has_nothing_to_do_with_a_study_is_left_to_others(tmp_path: Path) -> None:
    folder = make(tmp_path / "s", "seed=0")
    assert runs_at(tmp_path) is None and runs_at(folder / "seed=0/policy") is None
    assert runs_at(folder / "report.html") is None and runs_at("expert") is None
    (folder / "seed=7").mkdir()
    assert runs_at(folder / "seed=7") is None  # somebody else's
    assert not is_study(tmp_path)
    with pytest.raises(ValueError, match="is no study"):
        read_study(tmp_path)


def test_a_study_without_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the runs of this study was begun"):
        runs_at(make(tmp_path / "s", "seed=0", missing="seed=0"))


def test_a_run_made_from_one_of_another_study_is_known_by_that_ones_choices(tmp_path: Path) -> None:
    folder = make(tmp_path / "s", "seed=0", "seed=1", more=())
    for name in ("seed=0", "seed=1"):
        words = [f"teacher='runs/t/steps=9,{name}'", "student=blind"]
        (folder / ".multirun" / name / "overrides.yaml").write_text(yaml.safe_dump(words))
    runs = read_study(folder).runs
    assert [run.seed for run in runs] == [0, 1] and {tuple(run.group.items()) for run in runs} == {
        (("teacher.steps", "9"),)
    }


def test_groups_are_runs_that_differ_by_seed_alone(tmp_path: Path) -> None:
    folder = make(tmp_path / "s", *(f"student={s},seed={k}" for s in ("blind", "mlp") for k in (0, 1)))
    groups = groups_of([run.folder for run in read_study(folder).runs])
    assert {name: [run.name for run in runs] for name, runs in groups.items()} == {
        f"{folder}/student={s}": [f"student={s},seed=0", f"student={s},seed=1"] for s in ("blind", "mlp")
    }


@pytest.mark.parametrize("content", ["seed=1", "{seed: 1}", "[1, 2]", "[seed=1", "- !!python/object:os.system x"])
def test_a_damaged_file_is_one_sentence_that_names_it(tmp_path: Path, content: str) -> None:
    folder = make(tmp_path / "s", "seed=0", "seed=1")
    (folder / ".multirun/seed=1/overrides.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"seed=1/overrides\.yaml: .*"):
        read_study(folder)

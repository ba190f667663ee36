"""docs/add-a-method.md, followed word for word: what it tells to write is enough, and it is little."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest
import rows
import shared as trials
import test_every_method as shared
import test_resume
import yaml

import embodkd.methods
from embodkd.cli import main
from embodkd.cli.keys import Config
from embodkd.methods import METHODS, get_method, method_names

PAGE = (Path(__file__).parents[2] / "docs/add-a-method.md").read_text()
NAME = "trusted_kd"
# The last file that is named before a block is what the block is of.
BLOCKS = [
    (re.findall(r"`([\w/]+\.(?:py|yaml))`", PAGE[: found.start()])[-1], found[1], found[2])
    for found in re.finditer(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
]
FILES = {file: text for file, kind, text in BLOCKS if kind}
COMMANDS = [line for _, kind, text in BLOCKS if not kind for line in text.splitlines()]


@pytest.fixture
def followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the page's files were written; the method is found in it."""
    for file, text in FILES.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embodkd.methods, "__path__", [*embodkd.methods.__path__, str(tmp_path / "embodkd/methods")])
    # A dictionary entry, as it stands on the page.
    row = eval("{" + FILES["tests/methods/rows.py"] + "}", {"Row": rows.Row})
    monkeypatch.setattr(rows, "ROWS", {**rows.ROWS, **row})
    monkeypatch.setattr(shared, "ROWS", rows.ROWS)
    yield tmp_path
    # Other tests see the methods that there are.
    sys.modules.pop(f"embodkd.methods.{NAME}", None)
    for table in (METHODS._members, METHODS._metadata, vars(embodkd.methods)):
        table.pop(NAME, None)


def test_four_files_are_touched_and_one_of_them_by_one_line() -> None:
    places = ["embodkd/methods/{}.py", "configs/method/{}.yaml", "tests/methods/rows.py", "configs/reproduce/{}.yaml"]
    assert list(FILES) == [place.format(NAME) for place in places]
    assert len(FILES["tests/methods/rows.py"].splitlines()) == 1
    assert len(FILES[f"embodkd/methods/{NAME}.py"].splitlines()) <= 150


def test_the_method_is_found_with_its_facts_and_its_config_says_the_same(followed: Path) -> None:
    import dataclasses

    assert NAME in method_names() and METHODS.name_of(get_method(NAME)) == NAME
    given = dict(Config("distill_classifier", "configs").option("method", NAME))
    assert given.pop("name") == NAME
    assert given == {f.name: f.default for f in dataclasses.fields(get_method(NAME))}


PROPERTIES = (
    shared.test_metadata_says_what_it_is_and_where_it_is_from,
    shared.test_unknown_keys_are_named_with_the_right_one,
    shared.test_the_student_learns_and_fixed_models_stay_without_gradient,
    shared.test_same_seed_same_bits,
    shared.test_without_its_novel_part_it_is_the_plain_recipe_bit_for_bit,
    shared.test_values_follow_sample_ids_when_the_data_are_reordered,
    shared.test_a_batch_in_two_pieces_gives_the_same_update_or_names_what_needs_it_whole,
    shared.test_a_missing_teacher_is_one_clear_error,
    shared.test_a_teacher_of_other_classes_is_one_clear_error,
    shared.test_a_teacher_of_the_same_classes_in_another_order_is_one_error_that_names_both_lists,
    shared.test_a_loss_that_is_not_a_number_names_its_term,
)


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda one: one.__name__.removeprefix("test_"))
def test_its_row_brings_the_shared_properties(followed: Path, holds) -> None:
    holds(NAME)


def test_a_run_of_it_that_is_stopped_ends_where_another_does(followed: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(trials, "ROWS", rows.ROWS)
    monkeypatch.setitem(trials.TRIALS, NAME, partial(trials.vision, NAME))
    test_resume.test_stopped_and_resumed_equals_uninterrupted(NAME, tmp_path, monkeypatch)


def test_the_commands_of_the_page_work(followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [command.split()[:2] for command in COMMANDS] == [["embodkd", "distill"], ["embodkd", "reproduce"]]
    tiny = ["budget=short", "quiet=true", "--config-dir", "configs"]
    assert main(["train", "teacher", "data=digits", *tiny]) == 0
    assert main([*COMMANDS[0].split()[1:], *tiny]) == 0
    lineage = json.loads(Path(f"runs/{NAME}_digits/model/config.json").read_text())["lineage"]
    assert lineage["method"] == {"name": NAME, "power": 1.0, "temperature": 4.0, "alpha": 0.5}
    assert main(["methods", "show", NAME]) == 0
    assert "p_t(y)^power" in capsys.readouterr().out


def test_its_table_can_be_filled(followed: Path) -> None:
    """With fewer updates: what the page says of the budget is not changed by it."""
    file = Path(f"configs/reproduce/{NAME}.yaml")
    table = yaml.safe_load(file.read_text())
    table["budget"]["updates"] = 4
    file.write_text(yaml.safe_dump(table))
    assert main(["reproduce", str(file), "quiet=true"]) in (0, 1)
    result = json.loads(Path(f"results/{NAME}.json").read_text())
    assert len(result["arms"]["kd"]["measures"]["trust"]) == 3 and len(result["comparisons"]) == 3
    assert result["arms"]["untrusting"]["values"] == result["arms"]["kd"]["values"], "without trust it is KD"

"""Every verb on two processes: one voice, one folder, and what one process makes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import child
import numpy as np
import pytest
import torch
from furnish import furnished
from launch import launch
from safetensors.torch import load_file

from embodkd.cli import main
from embodkd.cli.help import of_verb
from embodkd.cli.verbs import VERBS
from embodkd.core import RunFolder

pytest.importorskip("pyarrow", reason="needs pyarrow (extra: lerobot)")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder in which one process did all that succeeds, and its answers."""
    folder = furnished(tmp_path_factory.mktemp("one"))
    child.stopped(folder / "stopped", 3)
    before = Path.cwd()
    os.chdir(folder)
    try:
        works = ("classifier", "distilled", "imitated", "robot", "judged", "judged_model")
        answers = {"resumed": child.resumed(folder / "stopped"), **child.carry_out(list(works))}
    finally:
        os.chdir(before)
    return folder, answers


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder in which two processes did all, and the answers of each."""
    folder = furnished(tmp_path_factory.mktemp("two"))
    child.stopped(folder / "stopped", 3)
    with launch(folder, str(Path(child.__file__))) as started:
        code, _, err = started.end()
    assert code == 0, err[-3000:]
    return folder, [json.loads((folder / f"answers_{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_what_succeeds_on_one_process_succeeds_on_two_with_one_voice(one, two):
    for name, answer in one[1].items():
        if name != "resumed":
            first, second = (two[1][rank][name] for rank in (0, 1))
            assert answer["code"] == 0, (name, answer)
            assert first["code"] == 0 == second["code"], (name, first, second)
            assert first["out"] and (second["out"], second["err"]) == ("", "")


@pytest.mark.parametrize(
    "run, model", [("teacher", "model"), ("distilled", "model"), ("imitated", "policy"), ("robot", "policy")]
)
def test_two_processes_make_the_model_that_one_makes(one, two, run, model):
    alone, together = (load_file(where / "runs" / run / model / "model.safetensors") for where in (one[0], two[0]))
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-9, atol=1e-11, msg=name)
    lines = [(where / "runs" / run / "metrics.jsonl").read_text().splitlines() for where in (one[0], two[0])]
    rows = [[json.loads(line) for line in found] for found in lines]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    assert all(a.keys() == b.keys() for a, b in zip(*rows, strict=True))


def test_two_processes_judge_as_one_does(one, two):
    for file in ("expert/evaluation.json", "expert/ablation.json"):
        alone, together = (json.loads((where / "runs" / file).read_text()) for where in (one[0], two[0]))
        for facts in (alone, together):
            del facts["manifest"]
        assert together == alone
    judged = [json.loads((where / "runs/teacher/evaluation_validation.json").read_text()) for where in (one[0], two[0])]
    assert [e["seed"] for e in judged[0]["per_episode"]] == [e["seed"] for e in judged[1]["per_episode"]]


@pytest.mark.parametrize(
    "name, words",
    [
        ("again", "resume=true"),
        ("too_few", "num_envs: 1 cannot be shared out"),
        ("reinforced", "does not run on 2 processes"),
    ],
)
def test_a_refusal_is_said_once_and_ends_all(two, name, words):
    first, second = (two[1][rank][name] for rank in (0, 1))
    assert first["code"] != 0 and second["code"] != 0
    said = (first["err"] + second["err"]).splitlines()
    assert len(said) == 1 and said[0].startswith("embodkd: ") and words in said[0], said


@pytest.mark.parametrize("name", ["reported", "listed"])
def test_the_first_process_alone_does_what_cannot_be_shared(two, name):
    first, second = (two[1][rank][name] for rank in (0, 1))
    assert first["code"] == 0 == second["code"] and first["out"] and not second["out"], (first, second)


def test_ranks_that_were_given_no_folder_go_on_where_the_first_one_does(one, two):
    alone = one[1]["resumed"]
    whole = child.imitation(5)
    child.Trainer(quiet=True).fit(whole)
    for name, value in whole.product.state_dict().items():
        np.testing.assert_allclose(alone[name], value, rtol=1e-9, atol=1e-11)
        for answers in two[1]:
            np.testing.assert_allclose(answers["resumed"][name], value, rtol=1e-9, atol=1e-11)


def test_a_refused_launch_ends_with_one_line_of_ours(tmp_path):
    RunFolder.open(tmp_path / "taken", {}).close()
    with launch(tmp_path, "-m", "embodkd.cli", *child.COMMANDS["classifier"], "run=taken") as started:
        code, out, err = started.end()
    ours = [line for line in err.splitlines() if line.startswith("embodkd: ")]
    assert code != 0 and not out and len(ours) == 1 and "resume=true" in ours[0], err


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.shown)
def test_every_verb_says_what_several_processes_do_and_the_others_obey(verb, monkeypatch, capsys):
    assert verb.several in of_verb(verb, [])
    assert verb.shares is None or verb.refuses is None
    if verb.shares is None:
        # As the second of two: nothing is done, said or waited for.
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", "2")
        words = [f"{key}=x" for key in verb.needs] + ([f"{verb.given}="] if verb.given else [])
        code = main([*verb.words, *words])
        assert code == (2 if verb.refuses else 0) and capsys.readouterr() == ("", "")

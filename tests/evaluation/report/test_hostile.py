"""A report shows what strangers' files say, and does nothing that they ask for."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
from coin import Coin, guesser
from report_runs import a_study

from embodkd.evaluation import Evaluation, evaluate
from embodkd.evaluation.report import write_report

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return evaluate(guesser(), Coin(4), episodes=4, quiet=True).as_dict()


def a_run(root: Path, stored: dict[str, Any]) -> Path:
    run = root / "run"
    (run / "policy").mkdir(parents=True)
    facts = {SCRIPT: {"shape": [3], "doc": SCRIPT, "privileged": False}}
    (run / "policy/config.json").write_text(json.dumps({"groups": facts}))
    (run / "config.yaml").write_text(f"task: '{SCRIPT.replace(chr(39), '')}'\n")
    (run / "manifest.json").write_text(json.dumps({"command": ["embodkd", SCRIPT], "minutes": 1.0, "seed": SCRIPT}))
    (run / "evaluation.json").write_text(json.dumps(stored))
    return run


def test_script_in_any_text_is_shown_and_not_run(tmp_path: Path, stored: dict[str, Any]) -> None:
    hostile = copy.deepcopy(stored)
    hostile["protocol"] |= {"unit": SCRIPT, "task": SCRIPT}
    for episode in hostile["per_episode"]:
        episode["failure"] = None if episode["success"] else SCRIPT
    page = Path(write_report(a_run(tmp_path, hostile))).read_text()
    assert page.count("<script") == 1 and "<script>alert" not in page, "one of its own"
    assert "onerror=alert(2)>" not in page and "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_a_link_out_of_the_run_folder_is_left_out(tmp_path: Path, stored: dict[str, Any]) -> None:
    run = a_run(tmp_path, stored)
    (tmp_path / "secret").write_bytes(b"a secret of the disk" * 10)
    (run / "videos").mkdir()
    (run / "videos/own.mp4").write_bytes(b"x" * 10)
    (run / "videos/stranger.mp4").symlink_to(tmp_path / "secret")
    page = Path(write_report(run)).read_text()
    assert "stranger.mp4" not in page and "own.mp4" in page


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda file: file.symlink_to("nowhere")])
def test_a_film_that_is_no_file_is_said_by_its_name(tmp_path: Path, stored: dict[str, Any], make: Any) -> None:
    run = a_run(tmp_path, stored)
    (run / "videos").mkdir()
    make(run / "videos/own.mp4")
    with pytest.raises(ValueError, match=r"own.mp4: is no file"):
        write_report(run)


def test_a_run_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path, stored: dict[str, Any]) -> None:
    private = a_run(tmp_path / "elsewhere", stored)
    stranger = tmp_path / "stranger"
    a_run(stranger, stored).rename(stranger / "teacher")
    (stranger / "student").symlink_to(private)
    with pytest.raises(ValueError, match=r"stranger/student: is a link out of .*elsewhere/run itself"):
        write_report(stranger)
    assert not (stranger / "report.html").exists()
    (stranger / "student").unlink()
    (stranger / "student").symlink_to("teacher")
    write_report(stranger)
    (tmp_path / "mine").symlink_to(private)
    write_report(tmp_path / "mine")  # what is named is asked for


@pytest.mark.parametrize(("options", "refused"), [({"randomness": "high"}, True), ({}, False)])
def test_sensors_that_were_spoiled_in_another_world_are_not_shown_beside_it(
    tmp_path: Path, stored: dict[str, Any], options: dict[str, Any], refused: bool
) -> None:
    run, other = a_run(tmp_path, stored), copy.deepcopy(stored)
    other["protocol"]["options"] = {**other["protocol"]["options"], **options}
    rate = {key: other[key] for key in ("success_rate", "successes", "episodes", "ci95", "failures")}
    spoiled = {"intact": rate, "rows": [], "unused": ["eye"], "protocol": other["protocol"]}
    (run / "ablation.json").write_text(json.dumps(spoiled))
    if refused:
        with pytest.raises(ValueError, match=r"evaluation.json and ablation.json differ in options"):
            write_report(run)
    else:
        assert "No proof that it uses" in write_report(run).read_text()


@pytest.mark.parametrize("mark", [True, False])
def test_marks_that_no_judgement_tells_are_its_task_s(tmp_path: Path, stored: dict[str, Any], mark: bool) -> None:
    folder = tmp_path / "run/policy"
    folder.mkdir(parents=True)
    groups = {"privileged": {"shape": [3], "privileged": mark}}
    task = {"name": "peg_hole", "engine": "mujoco", "options": {"image_size": 10**9}}
    (folder / "config.json").write_text(json.dumps({"groups": groups, "task": task}))
    if mark:
        page = write_report(tmp_path / "run").read_text()
        assert "its own word" not in page and "wrist_depth" not in page
    else:
        with pytest.raises(ValueError, match=r"contradicts its task about whether group 'privileged' is privileged"):
            write_report(tmp_path / "run")
    judged = {**stored, "manifest": {key: value for key, value in stored["manifest"].items() if key != "reads"}}
    (folder.parent / "evaluation.json").write_text(json.dumps(judged))
    if not mark:  # nor does it help to take them out of the judgement
        with pytest.raises(ValueError, match=r"contradicts its task about whether group 'privileged' is privileged"):
            write_report(tmp_path / "run")
        forged = {**judged["manifest"], "reads": {"privileged": "deployable"}}  # nor to forge both alike
        (folder.parent / "evaluation.json").write_text(json.dumps({**judged, "manifest": forged}))
        with pytest.raises(ValueError, match=r"contradicts its task about whether group 'privileged' is privileged"):
            write_report(tmp_path / "run")
    (folder.parent / "evaluation.json").write_text(json.dumps(judged))
    (folder / "config.json").write_text(json.dumps({"groups": groups, "task": {**task, "name": "of_my_own"}}))
    assert "its own word" in write_report(tmp_path / "run").read_text()


def test_what_a_study_was_asked_for_is_text_in_bars_charts_and_tables(tmp_path: Path) -> None:
    text = "<img src=x onerror=alert(2)>\"'&"
    a_study(tmp_path / "s", {f"a={text}{n},seed={seed}": 5 + n for n in range(7) for seed in (0, 1)})
    page = write_report(tmp_path / "s").read_text()
    assert "<img" not in page and "&lt;img src=x onerror=alert(2)&gt;" in page


@pytest.mark.parametrize(
    "key", ["success_rate", "successes", "ci95", "failures", "protocol", "manifest", "per_episode"]
)
@pytest.mark.parametrize("value", [None, -1, "words", [1], {"a": 1}, 1e400], ids=str)
def test_an_evaluation_of_another_shape_is_an_error_that_names_file_and_field(
    tmp_path: Path, stored: dict[str, Any], key: str, value: Any
) -> None:
    file = tmp_path / "evaluation.json"
    file.write_text(json.dumps({**stored, key: value}))
    if key in ("protocol", "manifest", "failures") and value == {"a": 1}:
        Evaluation.load(file)
        return
    with pytest.raises(ValueError, match=rf"evaluation\.json.*{key}"):
        Evaluation.load(file)


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", "<b>"), ("success", 1), ("failure", 3), ("return", None), ("steps", -1), ("steps", "x")],
)
def test_so_is_an_episode_of_another_shape(tmp_path: Path, stored: dict[str, Any], field: str, value: Any) -> None:
    broken = copy.deepcopy(stored)
    broken["per_episode"][1][field] = value
    (tmp_path / "evaluation.json").write_text(json.dumps(broken))
    with pytest.raises(ValueError, match=rf"per_episode\[1\]\.{field}"):
        Evaluation.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"', "{}", "\x00"])
def test_so_is_a_file_that_holds_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(ValueError, match=r"evaluation\.json"):
        Evaluation.load(tmp_path)

"""An arm of flesh and metal: a student of its demonstrations, in their units, judged by episodes that it never saw."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import so101
import torch
from embodkd.policies import load_policy, session_of

from embodkd.core.runs.files import write_tensors
from embodkd.data.lerobot import read_dataset
from embodkd.evaluation.imitation import Imitation

pytest.importorskip("pyarrow", reason="needs pyarrow (extra: lerobot)")
pytest.importorskip("matplotlib", reason="needs matplotlib (extra: lerobot)")

LENGTHS = (12, 9, 14, 11)
UNITS = ["deg", "deg", "deg", "deg", "deg", "%"]
WORDS = [
    "student=mlp_chunk", "student.width=32", "student.blocks=1", "student.horizon=4", "student.dropout=0",
    "method.rounds=1", "method.updates_per_round=200", "method.batch_size=16", "method.warmup=0",
    "method.learning_rate=0.01", "torch_threads=1", "quiet=true",
]  # fmt: skip


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `set` and a student of it in `run`; what the terminal said in `said`."""
    import contextlib
    import io

    from embodkd.cli import main

    folder, before, said = tmp_path_factory.mktemp("arm"), Path.cwd(), io.StringIO()
    so101.write(folder / "set", "none", LENGTHS)
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            units = f"units=[{','.join(UNITS)}]"
            assert main(["distill", "student", "demos=set", "run=run", "held_out=0.5", units, *WORDS]) == 0
    finally:
        os.chdir(before)
    (folder / "said").write_text(said.getvalue())
    return folder


@pytest.fixture
def here(arm: Path, tmp_path: Path) -> Path:
    shutil.copytree(arm, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_policy_of_an_arm_gives_degrees_within_what_it_was_shown_and_says_so(arm: Path) -> None:
    policy, meta = load_policy(arm / "run/policy")
    action = meta["action"]
    assert action["names"] == so101.NAMES and action["units"] == UNITS and meta["control_hz"] == so101.FPS
    assert set(policy.reads) == {"state", "task"} and meta["groups"]["state"]["names"] == so101.NAMES
    demos = read_dataset(arm / "set", ["state", "task"])
    trained = np.isin(np.repeat(demos.episodes_E, LENGTHS), meta["lineage"]["demos"]["trained"])
    np.testing.assert_allclose(action["low"], demos.action_FA[trained].min(0), rtol=1e-6)
    np.testing.assert_allclose(action["high"], demos.action_FA[trained].max(0), rtol=1e-6)
    seen = {name: values[trained] for name, values in demos.frames.items()}
    given = session_of(policy, len(seen["state"])).act(seen)
    assert np.abs(given).max() > 30 and (given >= np.float32(action["low"])).all()
    assert np.abs(given - demos.action_FA[trained]).mean() < 10, "degrees, after 200 updates"
    card = (arm / "run/policy/README.md").read_text()
    assert "| `gripper.pos` | % |" in card and "no simulator" in card


def test_it_is_judged_by_the_episodes_that_were_held_out(arm: Path) -> None:
    held_out = load_policy(arm / "run/policy")[1]["lineage"]["demos"]["held_out"]
    result = Imitation.load(arm / "run")
    assert [episode.name for episode in result.episodes] == [f"set, episode {k}" for k in held_out] and len(
        held_out
    ) == 2
    assert result.protocol["learned_from"] == 2 and not result.beware
    assert (arm / "run/imitation.png").read_bytes().startswith(b"\x89PNG")
    said = (arm / "said").read_text()
    assert "2 episodes" in said and "never saw" in said and "gripper.pos" in said and "deg" in said


def test_the_report_shows_the_errors_and_the_picture_but_no_link_to_another_file(here: Path, embodkd) -> None:
    assert embodkd("report", "run").code == 0
    page, picture = (here / "run/report.html").read_text(), here / "run/imitation.png"
    shown = base64.b64encode(picture.read_bytes()).decode()
    assert shown in page and "gripper.pos" in page and " deg" in page and "constant guess" in page
    (here / "secret.png").write_bytes(picture.read_bytes())
    picture.unlink()
    picture.symlink_to(here / "secret.png")
    assert embodkd("report", "run").code == 0
    page = (here / "run/report.html").read_text()
    assert shown not in page and "gripper.pos" in page
    result = json.loads((here / "run/imitation.json").read_text())
    result["episodes"][0]["name"] = "<script>alert(1)</script>"
    (here / "run/imitation.json").write_text(json.dumps(result))
    assert embodkd("report", "run").code == 0 and "<script>alert" not in (here / "run/report.html").read_text()
    (here / "run/imitation.json").write_text(json.dumps({**result, "episodes": [{"name": 1}]}))
    answer = embodkd("report", "run")
    assert answer.code == 2 and "imitation.json" in answer.err and len(answer.err.splitlines()) == 1


def test_the_errors_are_those_of_the_session_step_by_step(here: Path, embodkd) -> None:
    so101.write(here / "new", "none", (10, 13, 8))
    answer = embodkd("evaluate", "policy=run", "demos=new", "out=new.json", "quiet=true", "copies=2")
    assert answer.code == 0 and "3 episodes (31 steps) that it never saw" in answer.out, answer.err
    policy, _ = load_policy(here / "run/policy")
    demos = read_dataset(here / "new", ["state", "task"])
    for episode, start, length in zip(
        Imitation.load("new.json").episodes, demos.starts_E, demos.lengths_E, strict=True
    ):
        session, errors = session_of(policy, 1), []
        session.begin()
        for frame in range(start, start + length):
            given = session.act({name: values[frame : frame + 1] for name, values in demos.frames.items()})
            errors.append(np.abs(given[0] - demos.action_FA[frame]))
        np.testing.assert_allclose(episode.error_A, np.mean(errors, axis=0), rtol=1e-3, atol=1e-3)


def test_episodes_that_it_learned_from_are_left_out_wherever_they_lie_or_it_is_said(here: Path, embodkd) -> None:
    (here / "set").rename(here / "elsewhere")
    words = ["evaluate", "policy=run", "demos=elsewhere", "quiet=true"]
    assert embodkd(*words).code == 0
    assert len(Imitation.load(here / "run").episodes) == 2
    digests = torch.from_numpy(read_dataset(here / "elsewhere", []).digests_E)
    items = here / "run/policy/items.safetensors"
    write_tensors(items, {"trained": digests})
    answer = embodkd(*words)
    assert answer.code == 0 and "beware: it learned from all 4 episodes" in answer.out
    assert "never saw" not in answer.out and len(Imitation.load(here / "run").episodes) == 4
    items.unlink()
    answer = embodkd(*words)
    assert answer.code == 0 and "beware: which demonstrations it learned from is not known" in answer.out


def test_what_is_left_out_or_taken_otherwise_is_said_stored_and_in_the_report(here: Path, embodkd) -> None:
    lengths = (10, 13, 8, 7)
    so101.write(here / "mixed", "image", lengths, names=None, more=so101.endings(lengths, (1, 3)))
    answer = embodkd("evaluate", "policy=run", "demos=mixed", "quiet=true")
    assert answer.code == 0 and "error on 2 episodes" in answer.out, answer.err
    lines = [
        "mixed: not read: front, wrist",
        "mixed: 2 of 4 episodes succeeded and are used",
        "mixed: only one of it and the policy names the numbers of state: taken in order",
        "mixed: only one of it and the policy names the numbers of action: taken in order",
    ]
    assert answer.out.splitlines()[:4] == [f"run/policy: {line}" for line in lines]
    result = Imitation.load(here / "run")
    assert list(result.said) == lines and [e.name for e in result.episodes] == ["mixed, episode 1", "mixed, episode 3"]
    assert embodkd("report", "run").code == 0
    page = (here / "run/report.html").read_text()
    assert all(f">{line}<" in page for line in lines)
    answer = embodkd("evaluate", "policy=run", "demos=mixed", "failed=true", "quiet=true")
    assert answer.code == 0 and "error on 4 episodes" in answer.out and "succeeded" not in answer.out, answer.err


def test_joints_in_another_order_are_put_in_the_policys_and_other_joints_are_refused(here: Path, embodkd) -> None:
    other = [so101.NAMES[k] for k in (3, 1, 2, 0, 4, 5)]
    so101.write(here / "same", "none", (10, 13))
    so101.write(here / "swapped", "none", (10, 13), names=other)
    so101.write(here / "foreign", "none", (10, 13), names=["a", "b", "c", "d", "e", "f"])
    for name in ("same", "swapped"):
        assert embodkd("evaluate", "policy=run", f"demos={name}", f"out={name}.json", "quiet=true").code == 0
    same, swapped = (json.loads((here / f"{name}.json").read_text())["error"] for name in ("same", "swapped"))
    # the names of two columns were exchanged, so their constant guesses are
    exchanged = swapped["wrist_flex.pos"]["constant"], swapped["shoulder_pan.pos"]["constant"]
    assert exchanged == pytest.approx((same["shoulder_pan.pos"]["constant"], same["wrist_flex.pos"]["constant"]))
    answer = embodkd("evaluate", "policy=run", "demos=foreign", "quiet=true")
    assert answer.code == 2 and "shoulder_pan.pos" in answer.err and "one robot" in answer.err


@pytest.mark.parametrize(
    "words, parts",
    [
        ([], ["'set' and has no simulator", "demos=..."]),
        (["demos=set", "task=peg_hole"], ["recorded episodes", "task"]),
        (["failed=true"], ["failed", "demos=FOLDER"]),
        (["demos_keys={front:image}"], ["demos_keys", "demos=FOLDER"]),
        (["demos=nowhere"], ["nowhere", "no LeRobot dataset"]),
        (["demos=set", "policy=slow"], ["recorded at 30 Hz", "acts at 10 Hz"]),
        (["demos=told"], ["never told 'Fold the shirt.'", "Pick up the red cube."]),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_line(here: Path, embodkd, monkeypatch, words, parts) -> None:
    monkeypatch.setattr(so101, "SENTENCES", ["Fold the shirt.", so101.SENTENCES[1]])
    so101.write(here / "told", "none", (10, 13))
    shutil.copytree(here / "run", here / "slow")
    config = here / "slow/policy/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "control_hz": 10.0}))
    answer = embodkd("evaluate", *({"policy=run"} if "policy=slow" not in words else ()), *words, "quiet=true")
    assert answer.code == 2 and all(part in answer.err for part in parts), answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_other_verbs_say_that_there_is_no_simulator(here: Path, embodkd) -> None:
    answer = embodkd("rollout", "policy=run", "episodes=1")
    assert answer.code == 2 and "'set' and has no simulator" in answer.err


def test_a_simulated_tasks_units_are_its_own(here: Path, embodkd) -> None:
    answer = embodkd("distill", "student", "demos=set", "run=x", "units=[deg,deg]", *WORDS)
    assert answer.code == 2 and "2 of them for 6 actions" in answer.err and not (here / "x").exists()

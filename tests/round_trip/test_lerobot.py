"""There and back with lerobot itself, in an environment of its own: LEROBOT_PYTHON is its Python (`make lerobot`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import so101
from embodkd.policies import load_policy, session_of

from embodkd.cli import main
from embodkd.data.lerobot import Reading, read_dataset

THEIRS = Path(__file__).parent / "theirs"
PLUGIN = Path(__file__).parents[2] / "plugins/lerobot_policy_embodkd"
WORDS = [
    "student=camera_chunk", "student.horizon=4", "student.hidden=[32]", "student.channels=[4,8]", "image_size=[48,64]",
    "held_out=0.3", "method.rounds=1", "method.updates_per_round=40", "method.batch_size=16", "method.warmup=0",
    "method.learning_rate=0.003", "torch_threads=1", "quiet=true",
]  # fmt: skip

pytestmark = [
    pytest.mark.lerobot,
    pytest.mark.timeout(900),
    pytest.mark.skipif("LEROBOT_PYTHON" not in os.environ, reason="LEROBOT_PYTHON names no environment of lerobot"),
]


def theirs(*words: object, program: str | None = None) -> str:
    """What a program says in lerobot's environment, where nothing may be fetched."""
    python = Path(os.environ["LEROBOT_PYTHON"])
    start = [str(python.parent / program)] if program else [str(python), str(THEIRS / str(words[0]))]
    given = [str(word) for word in (words if program else words[1:])]
    paths = [PLUGIN, Path(so101.__file__).parent, THEIRS / "pretend"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run([*start, *given], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets that lerobot wrote: `video` and `image`."""
    folder = tmp_path_factory.mktemp("sets")
    for kind in ("video", "image"):
        theirs("write.py", folder / kind, kind)
    return folder


@pytest.fixture(scope="module")
def arm(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student of both, `run`, its file and what lerobot loads, `policy`."""
    folder, before = tmp_path_factory.mktemp("arm"), Path.cwd()
    os.chdir(folder)
    try:
        demos = f"demos=[{sets / 'video'},{sets / 'image'}]"
        assert main(["distill", "student", demos, "run=run", *WORDS]) == 0
        assert main(["export", "policy=run", "format=onnx", "out=arm.onnx"]) == 0
    finally:
        os.chdir(before)
    said = theirs("-m", "lerobot_policy_embodkd.convert", folder / "arm.onnx", folder / "policy", program="python")
    assert "--fps=30" in said and "gripper.pos" in said
    return folder


@pytest.mark.parametrize("kind", ["video", "image"])
def test_what_lerobot_wrote_is_read_in_its_units_and_its_moments(sets: Path, kind: str) -> None:
    demos = read_dataset(sets / kind)
    state, action = so101.numbers()
    np.testing.assert_array_equal(demos.frames["state"], state)
    np.testing.assert_array_equal(demos.action_FA, action)
    assert demos.about.tasks == tuple(so101.SENTENCES) and demos.about.fps == so101.FPS
    for camera in so101.CAMERAS:
        assert [so101.moment(picture, camera) for picture in demos.frames[camera][:]] == list(range(len(state)))


def test_our_recordings_are_read_by_lerobot_and_its_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["task=peg_assembly", "episodes=2", "num_envs=2", "run=run", "quiet=true"]
    assert main(["record", *words]) == 0
    theirs("read.py", tmp_path / "run/demos", tmp_path / "read.npz")
    read, demos = np.load(tmp_path / "read.npz"), read_dataset(tmp_path / "run/demos")
    np.testing.assert_allclose(read["action"][:, 0], demos.action_FA, atol=1e-6)
    assert read["action"].shape[1] == 3 and set(read["task"]) == {"peg_assembly"}
    ends = np.cumsum(demos.lengths_E) - 1
    inside = np.setdiff1d(np.arange(len(demos.action_FA)), ends)
    np.testing.assert_allclose(read["action"][inside, 1], demos.action_FA[inside + 1], atol=1e-6)
    feature, start = demos.about.places["proprio"]
    width = demos.frames["proprio"].shape[1]
    np.testing.assert_allclose(read[feature][:, start : start + width], demos.frames["proprio"], atol=1e-6)


# of three episodes, in this order
EDITED = {"deleted": [0, 2], "first": [0], "rest": [1, 2], "merged": [1, 2, 0]}


@pytest.mark.parametrize("kind", ["ours", "video", "image"])
def test_what_lerobots_tools_made_of_a_set_is_read_and_learned_from(
    sets: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted, split and merged: the right episodes with their pictures and sentences, our own facts still there."""
    monkeypatch.chdir(tmp_path)
    source, words = sets / kind, WORDS
    if kind == "ours":
        made = ["task=peg_assembly", "episodes=3", "num_envs=3", "groups=[proprio,wrist_rgb]", "run=run", "quiet=true"]
        assert main(["record", *made]) == 0
        source = tmp_path / "run/demos"
        words = ["student=mlp_chunk", "student.width=8", "method.rounds=1", "method.updates_per_round=2", "episodes=1"]
        words += ["method.batch_size=8", "held_out=0.3", "torch_threads=1", "quiet=true"]
    theirs("edit.py", source, tmp_path / "edited")
    whole = read_dataset(source)
    spans = [slice(start, start + length) for start, length in zip(whole.starts_E, whole.lengths_E, strict=True)]
    for name, episodes in EDITED.items():
        edited = read_dataset(tmp_path / "edited" / name)
        frames = np.concatenate([np.arange(span.start, span.stop) for span in (spans[e] for e in episodes)])
        assert list(edited.lengths_E) == [whole.lengths_E[e] for e in episodes]
        np.testing.assert_array_equal(edited.action_FA, whole.action_FA[frames])
        assert edited.frames.keys() == whole.frames.keys() and edited.about.fps == whole.about.fps
        for group in edited.frames:
            if group == "task":
                said = [edited.about.tasks[int(k)] for k in np.ravel(edited.frames[group][:])]
                assert said == [whole.about.tasks[int(k)] for k in np.ravel(whole.frames[group][:][frames])]
                continue
            here, there = edited.frames[group][:].astype(float), whole.frames[group][:][frames].astype(float)
            if here.ndim == 4:  # videos are encoded once more
                assert (np.abs(here - there).mean((1, 2, 3)) < 5).all()
            else:
                np.testing.assert_array_equal(here, there)
        assert edited.about.task == whole.about.task
        assert main(["distill", "student", f"demos={tmp_path / 'edited' / name}", f"run=run_{name}", *words]) == 0


def test_the_readmes_commands_learn_from_a_set_that_lerobot_wrote(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sets / "video", "my_arm")
    readme = (Path(__file__).parents[2] / "README.md").read_text().splitlines()
    learns, judges = (line.split()[1:] for line in readme if line.startswith("embodkd ") and "my_arm" in line)
    short = ["method.rounds=1", "method.updates_per_round=4", "method.batch_size=8", "torch_threads=1", "quiet=true"]
    assert main([*learns, *short]) == 0
    assert main(judges) == 0
    assert "shoulder_pan" in capsys.readouterr().out


def test_our_policy_acts_through_lerobots_interface_as_it_does_here(sets: Path, arm: Path) -> None:
    theirs("drive.py", arm / "policy", sets / "image", arm / "driven.npz")
    driven = np.load(arm / "driven.npz")
    policy, _ = load_policy(arm / "run/policy")
    demos = read_dataset(sets / "image", policy.reads, Reading(image_size=(48, 64)))
    session, expected = session_of(policy, 1), []
    for start, length in zip(demos.starts_E, demos.lengths_E, strict=True):
        session.begin()
        for k in range(start, start + length):
            expected.append(session.act({name: values[k : k + 1] for name, values in demos.frames.items()})[0])
    reach = np.subtract(policy.action.high, policy.action.low)
    # a pixel may round the other way, the actions are degrees
    assert (np.abs(driven["actions"] - expected) / reach).max() < 1e-2
    assert np.abs(driven["actions"]).max() > 30
    np.testing.assert_allclose(driven["chunk"][0], driven["actions"][:4], atol=0.5)


def test_a_damaged_file_is_refused_in_one_line_and_leaves_nothing(arm: Path, tmp_path: Path) -> None:
    import onnx

    def told(change) -> bytes:
        model = onnx.load(arm / "arm.onnx")
        (entry,) = (entry for entry in model.metadata_props if entry.key == "embodkd")
        facts = json.loads(entry.value)
        change(facts)
        entry.value = json.dumps(facts)
        return model.SerializeToString()

    whole = (arm / "arm.onnx").read_bytes()
    files = {
        "empty": b"",
        "text": b"not a network",
        "half": whole[: len(whole) // 2],
        "silent": told(lambda facts: facts.clear()),
        "no_chunk": told(lambda facts: facts.pop("chunk")),
        "no_inputs": told(lambda facts: facts.update(inputs={})),
        "places": told(lambda facts: facts.update(places=["state"])),
        "action": told(lambda facts: facts.update(action=None)),
        "names": told(lambda facts: facts["action"]["names"].pop()),
        "rate": told(lambda facts: facts.update(control_hz="fast")),
    }
    for name, content in files.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
    said = theirs("damaged.py", tmp_path, *files)
    for name in files:
        (line,) = [line for line in said.splitlines() if line.startswith(f"{name} ")]
        assert line.startswith(f"{name} 2 lerobot-embodkd: ") and f"{name}.onnx" in line, line
        assert not (tmp_path / f"{name}_policy").exists()


def test_lerobot_rollout_drives_an_arm_with_it(arm: Path) -> None:
    log = arm / "sent.json"
    words = [
        "--strategy.type=base", f"--policy.path={arm / 'policy'}", "--robot.type=pretend", f"--robot.log={log}",
        "--fps=30", "--duration=2", f"--task={so101.SENTENCES[0]}", "--device=cpu", f"--robot.calibration_dir={arm}",
        "--return_to_initial_position=false",
    ]  # fmt: skip
    theirs(*words, program="lerobot-rollout")
    sent = np.array(json.loads(log.read_text()))
    action = load_policy(arm / "run/policy")[0].action
    assert len(sent) > 10 and sent.shape[1] == 6
    assert (sent >= np.array(action.low) - 1e-3).all() and (sent <= np.array(action.high) + 1e-3).all()

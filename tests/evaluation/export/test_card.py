"""The runner that stands in a policy's card is all that a robot needs beside the file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from embodkd.policies import POLICIES, load_policy, save_policy, session_of
from embodkd.policies.card import RUNNER
from small_policies import STEPS, episode, small

DRIVE = """
import sys
import numpy as np

for name in sys.argv[1:]:
    given = np.load(f"{name}.npz")
    robot = Robot(f"{name}.onnx")
    seen = {key.removeprefix("seen/"): rows for key, rows in given.items() if key.startswith("seen/")}
    found = []
    for t, begins in enumerate(given["begins"]):
        if begins:
            robot.begin()
        obs = {group: rows[t] for group, rows in seen.items()}
        found.append(robot.act(obs, given["noise"][t] if "noise" in given else None))
    np.save(f"{name}_actions.npy", found)
assert "torch" not in sys.modules and "embodkd" not in sys.modules
"""


def blocks(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


@pytest.fixture
def folder(tmp_path):
    """`folder(policy)`: its policy folder."""
    task = {"name": "toy", "engine": None, "control_hz": 20.0}
    return lambda policy: save_policy(tmp_path / "policy", policy, task=task)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_text_in_the_card_drives_a_robot_without_torch_as_evaluation_does(folder, file, tmp_path):
    expected, names = {}, ("depth_cnn", "diffusion", "residual")
    for name in names:
        policy, path = file(name, "onnx")
        (tmp_path / f"{name}.onnx").write_bytes(path.read_bytes())
        seen, session = episode(policy), session_of(policy, 1)
        begins = np.arange(STEPS) == STEPS // 2  # in the midst of a chunk
        plans, noise = getattr(policy, "base", policy), {}
        if "noise" in getattr(plans, "recalls", ()):
            with torch.no_grad():
                noise["noise"] = plans.noise({n: torch.from_numpy(rows) for n, rows in seen.items()}).numpy()
        np.savez(tmp_path / f"{name}.npz", begins=begins, **noise, **{f"seen/{n}": rows for n, rows in seen.items()})
        expected[name] = []
        for t in range(STEPS):
            if begins[t]:
                session.begin()
            expected[name].append(session.act({n: rows[t : t + 1] for n, rows in seen.items()})[0])
        runner = next(text for text in blocks((folder(policy) / "README.md").read_text()) if "class Robot" in text)
        (tmp_path / "drive.py").write_text(runner + DRIVE)
    words = [sys.executable, "-I", "drive.py", *names]
    child = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert child.returncode == 0 and not child.stderr, child.stderr
    for name in names:
        unit = np.ptp(expected[name], axis=0)
        np.testing.assert_allclose(np.load(tmp_path / f"{name}_actions.npy") / unit, expected[name] / unit, atol=1e-4)


def test_the_runner_is_short():
    from embodkd.policies.card import RUNNER

    text = re.sub(r'""".*?"""', "", RUNNER.read_text(), flags=re.DOTALL)
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 30


@pytest.mark.parametrize("name", POLICIES.names())
def test_the_card_recommends_what_evaluation_runs(name, folder, monkeypatch):
    """Its lines, as they stand there, act as a session does, which `policy.act` does not."""
    policy = small(name)
    where = folder(policy)
    use = blocks((where / "README.md").read_text())[0].replace("path/to/this/folder", str(where))
    begin, act = use.split("robot.begin()")[0], use.split("\n")[-2]
    assert "robot.act(observation)" in act and "policy.act" not in use
    seen, session, scope = episode(policy), session_of(policy, 1), {}
    exec(begin, scope)
    scope["robot"].begin()
    for t in range(4):
        scope["observation"] = {n: rows[t : t + 1] for n, rows in seen.items()}
        exec(act, scope)
        np.testing.assert_array_equal(scope["action"], session.act(scope["observation"])[0])


def test_an_episode_travels_in_the_folder_and_one_that_does_not_fit_is_refused(tmp_path):
    from embodkd.policies.artefact import read_episode

    from embodkd.core.runs import artefact

    policy, task = small("depth_cnn"), {"name": "toy", "engine": None}
    seen = episode(policy)
    where = save_policy(tmp_path / "p", policy, task=task, episode={**seen, "more": np.zeros((STEPS, 2))})
    found = read_episode(where, load_policy(where)[0])
    assert found.keys() == seen.keys() and all(np.array_equal(found[n], seen[n]) for n in seen)
    assert read_episode(save_policy(tmp_path / "q", policy, task=task), policy) is None
    with pytest.raises(ValueError, match="examples.safetensors: holds no rows of"):
        read_episode(where, small("mlp"))
    row = sum(rows[0].nbytes for rows in seen.values())
    assert artefact.few_enough(seen) == STEPS
    for room, kept in ((3.5 * row, 3), (0.5 * row, 1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(artefact, "EXAMPLE_BYTES", int(room))
            assert artefact.few_enough(seen) == kept


def test_the_plug_in_for_lerobot_has_this_runner() -> None:
    package = Path(__file__).parents[3] / "plugins/lerobot_policy_embodkd/lerobot_policy_embodkd"
    assert (package / "runner.py").read_bytes() == RUNNER.read_bytes()

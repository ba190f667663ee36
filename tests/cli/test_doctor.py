"""`embodkd doctor` looks at every part and every extra, and says how to mend what it finds."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch

import embodkd.cli.doctor as clinic
from embodkd.cli import extras

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
LIGHT = """
import sys
import embodkd.cli.doctor as clinic
for check in (clinic._python, clinic._threads, clinic._disk, clinic._extras):
    assert list(check(0.05)), check
print("torch" in sys.modules)
"""


def test_doctor_judges_every_part(embodkd, small) -> None:
    answer = embodkd("doctor", *small["doctor"])
    assert answer.code == 0, answer.out
    for part in ("torch", "threads", "disk", "engine mujoco", "renderer rays", "renderer opengl", "engine bullet"):
        line = next(line for line in answer.out.splitlines() if f" {part} " in line)
        assert line.split()[0] in ("ok", "slow", "missing")
        assert line.startswith("ok") or "->" in line or "opengl" in line


def test_doctor_says_when_the_core_is_broken(embodkd, monkeypatch) -> None:
    def broken(seconds: float):
        raise RuntimeError("no such engine")
        yield

    monkeypatch.setattr(clinic, "_mujoco", broken)
    answer = embodkd("doctor", "seconds=0.05")
    assert answer.code == 1 and "no such engine" in answer.out and "reinstall" not in answer.out


def test_doctor_says_which_opengl_to_ask_for(embodkd, monkeypatch) -> None:
    from embodkd.envs.sim import render

    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    for found, advice in (
        (render.Probe("egl", "a card", 9.0, ""), "set MUJOCO_GL=egl"),
        (render.Probe(None, "", 0.0, "no OpenGL here"), "unset MUJOCO_GL=osmesa"),
    ):
        monkeypatch.setattr(render, "probe", lambda found=found: found)
        assert advice in next(clinic._opengl(0.05)).mend


def test_it_knows_every_extra_and_what_each_brings() -> None:
    assert list(extras.GIVES) == list(EXTRAS) == metadata.metadata("embodkd").get_all("Provides-Extra")
    for extra, needs in EXTRAS.items():
        assert extras.packages_of(extra) == [re.split("[<>=;]", need)[0] for need in needs], extra
    assert EXTRAS.keys() >= extras.ANY_OF


def test_it_names_every_extra_and_the_command_that_brings_it(embodkd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clinic, "is_here", lambda package: False)
    monkeypatch.setattr(sys, "version_info", (3, 11, 9))
    found = {finding.what: finding for finding in clinic._extras(0.05)}
    assert list(found) == [f"extra {extra}" for extra in EXTRAS]
    for extra, gives in extras.GIVES.items():
        finding = found[f"extra {extra}"]
        assert (finding.state, finding.mend) == ("missing", f"pip install 'embodkd[{extra}]'")
        assert finding.found.startswith(gives) and finding.found.endswith(extras.packages_of(extra)[-1])


def test_an_extra_is_here_when_all_of_it_is_and_one_tracker_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for here, states in (
        (("pyarrow", "mlflow"), ("missing", "ok")),
        (("pyarrow", "matplotlib"), ("ok", "missing")),
    ):
        monkeypatch.setattr(clinic, "is_here", lambda package, here=here: package in here)
        found = {finding.what: finding for finding in clinic._extras(0.05)}
        assert (found["extra lerobot"].state, found["extra trackers"].state) == states
    assert found["extra vision"].found.endswith(": without " + ", ".join(extras.packages_of("vision")[:-1]))


def test_bullet_is_not_advised_where_it_has_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    assert "use 3.11" in extras.remedy("bullet") and "pip install" not in extras.remedy("bullet")
    assert extras.remedy("gl") == "pip install 'embodkd[gl]'"


def test_a_package_is_here_if_it_is_installed() -> None:
    assert extras.is_here("torch") and not extras.is_here("torch-of-nobody")


@pytest.mark.parametrize(
    ("cuda", "card", "hinted"), [(None, False, False), ("13.0", False, True), ("13.0", True, False)]
)
def test_torch_with_a_cuda_that_nobody_uses_is_said(monkeypatch: pytest.MonkeyPatch, cuda, card, hinted) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a card")
    (finding,) = clinic._torch(0.01)
    assert finding.state == "ok" and ("https://download.pytorch.org/whl/cpu" in finding.mend) == hinted


def test_what_is_looked_at_without_torch_imports_none(tmp_path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", LIGHT], cwd=tmp_path, capture_output=True, text=True)
    assert child.stdout == "False\n", child.stderr


def test_the_readme_says_how_to_get_torch_without_cuda() -> None:
    words = (ROOT / "README.md").read_text()
    assert "pip install torch --index-url https://download.pytorch.org/whl/cpu" in words
    assert clinic._WITHOUT_CUDA.endswith("torch --index-url https://download.pytorch.org/whl/cpu")

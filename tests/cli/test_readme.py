"""Every command that README and the help show is run, in this order, with tiny budgets."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import so101

from embodkd.cli.demo import STUDY
from embodkd.cli.verbs import VERBS, find

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]


def test_every_block_holds_commands() -> None:
    assert COMMANDS and all(c.split()[0] in ("make", "embodkd") for c in COMMANDS)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make")])
def test_make_targets_exist_and_run_what_is_installed(command: str) -> None:
    dry = subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    assert dry.returncode == 0, dry.stderr
    if command == "make demo":
        assert ".venv/bin/embodkd demo" in dry.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_work_one_after_the_other(embodkd, small, tmp_path: Path) -> None:
    so101.write(tmp_path / "my_arm", "video", codec="libx264")
    for command in COMMANDS:
        if command.startswith("embodkd"):
            words = shlex.split(command)[1:]
            verb, rest = find(words)
            assert verb is not None, command
            given = {word.partition("=")[0] for word in rest}
            tiny = [w for w in small.get(verb.shown, []) if w.partition("=")[0] not in given]
            answer = embodkd(*words, *tiny)
            assert answer.code == 0, f"{command}: {answer.err}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_leaves_what_the_readme_promises_and_goes_on_when_asked_again(embodkd, small, tmp_path: Path) -> None:
    answer = embodkd("demo", *small["demo"])
    assert answer.code == 0, answer.err
    demo = tmp_path / "runs/demo"
    for name in ("teacher", "student", "blind"):
        assert (demo / name / "evaluation.json").exists() and f"\n{name} " in answer.out
    assert (demo / "student/policy/config.json").exists()
    # and how to make of one seed a study, in two lines that the README shows, too
    assert all(f"  {line}" in answer.out and line in COMMANDS for line in STUDY)
    assert "<video" in (demo / "report.html").read_text()
    weights = demo / "student/policy/model.safetensors"
    before = weights.read_bytes()
    assert embodkd("demo", *small["demo"]).code == 0
    assert weights.read_bytes() == before


@pytest.mark.parametrize("example", [e for v in VERBS for e in v.examples if e.startswith("embodkd")])
def test_examples_in_the_help_are_accepted(example: str) -> None:
    from embodkd.cli.overrides import parse

    verb, rest = find(shlex.split(example.partition("|")[0])[1:])
    assert verb is not None
    if verb.config is not None:
        parse(verb, rest)

"""Every command that README and the help show is run, in this order, with tiny budgets."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import forty
import pytest
import so101

from embodkd.cli.demo import STUDY
from embodkd.cli.verbs import VERBS, find
from embodkd.data import kind_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
OF_DOMAINS = re.findall(
    r"`(embodkd (?:train|data get)[^`]*)`", TEXT.split("## The same on data sets")[1].split("##")[0]
)
PRE_TRAINING = re.findall(r"`(embodkd distill[^`]*method=tinyvit[^`]*)`", TEXT)
LEAST = {
    "sums": ["data.test=4", "data.validation=4", "model.width=16", "model.depth=1"],
    "digits": ["model.steps=5"],
    "tones": ["data.train=8", "data.validation=2", "data.test=2", "data.mels=16", "model.width=16"],
    "rooms": ["data.size=16", "data.train=4", "data.validation=2", "data.test=2", "model.anchors=8", "model.margin=2"],
}
"""Beside a small budget, for what making and judging cost."""


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


def test_each_domain_has_a_command_that_works_and_leaves_something_to_look_at(
    embodkd, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="extra language is not installed")
    forty.concepts(tmp_path / "cache")
    monkeypatch.setenv("EMBODKD_CACHE", str(tmp_path / "cache"))
    kinds = set()
    for command in sorted(OF_DOMAINS):
        words = shlex.split(command)[1:]
        tiny = []
        if words[0] == "train":
            data = next(word.partition("=")[2] for word in words if word.startswith("data="))
            kinds.add(kind_of(data))
            tiny = [*small["train teacher data=..."], *LEAST.get(data, []), "quiet=true"]
        answer = embodkd(*words, *tiny)
        assert answer.code == 0, f"{command}: {answer.err}"
        if words[0] == "train":
            assert list((tmp_path / f"runs/teacher_{data}").glob("evaluation_samples/samples.json")), command
    assert kinds == {"texts", "pairs", "splits", "views", "speech"}
    assert embodkd("report", "runs").code == 0
    assert (tmp_path / "runs/report.html").read_text().count('<table class="made"') == 5


def test_pre_training_works_with_the_teacher_of_the_first_line(embodkd, small, tmp_path: Path) -> None:
    first = next(c for c in COMMANDS if c.startswith("embodkd train teacher data="))
    for command in (first, *PRE_TRAINING):
        words = shlex.split(command)[1:]
        answer = embodkd(*words, *small[f"{' '.join(words[:2])} data=..."], "quiet=true")
        assert answer.code == 0, f"{command}: {answer.err}"
    assert (tmp_path / "runs/tinyvit_digits/evaluation.json").is_file()


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

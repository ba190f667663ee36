"""Names of files are names of files: every key that takes a path, with names that mean something to a parser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from every_key import CONFIGURED
from hydra.core.override_parser.overrides_parser import OverridesParser

from embodkd.cli.keys import Config
from embodkd.cli.overrides import parse
from embodkd.core.runs.study import read_study

NAMES = ("a b", "lr=0.1", "a,b", "x(1)[2]{3}", "größe", "\U0001f916", "-dash", "x" * 200, "'q'\"r\"", "100%")
NASTY = "-lr=0,1 (größe)[\U0001f916]{'x'} "


@pytest.mark.parametrize("name", [*NAMES, NASTY])
def test_every_key_that_takes_a_text_takes_these(name: str) -> None:
    tried = 0
    for verb in CONFIGURED:
        for key in Config(str(verb.config)).texts():
            needs = [f"{need}=x" for need in verb.needs if need != key]
            given = ["data=digits"] if verb.given == "data" else []
            words = parse(verb, [*given, *needs, f"{key}={name}"])
            (override,) = OverridesParser.create().parse_overrides(words.overrides[-1:])
            assert override.value() == name, (verb.shown, key)
            tried += 1
    assert tried > 40


def chain(name: str, small: dict[str, list[str]]) -> list[list[str]]:
    """Commands in which every path that one of them makes is read by another; `{name}t` is a teacher that is there."""
    n, data, demos = name, "distill student data=...", "distill student demos=..."
    return [
        ["evaluate", f"policy={n}t", f"out={n}e.json", *small["evaluate"], "quiet=true"],
        ["compare", f"policy={n}t", f"against={n}e.json", *small["compare"], "quiet=true"],
        ["rollout", f"policy={n}t", f"beside={n}s", f"out={n}v.mp4", *small["rollout"]],
        ["report", f"run={n}t", f"out={n}h.html"],
        ["train", "teacher", "data=digits", f"run={n}c", *small["train teacher data=..."], "quiet=true"],
        ["distill", "student", "data=digits", f"teacher={n}c", f"run={n}d", *small[data], "quiet=true"],
        ["evaluate", f"policy={n}d", f"out={n}f.json", "torch_threads=1"],
        ["export", f"policy={n}s", f"out={n}x.onnx"],
        ["reproduce", f"slug={n}y.yaml", "dry_run=true"],
        ["record", "task=peg_assembly", f"run={n}r", *small["record"], "quiet=true"],
        ["distill", "student", f"demos={n}r", "student=mlp_chunk", f"run={n}m", *small[demos], "quiet=true"]
        + ["method.allow_privileged=true", "student.width=16"],
        ["train", "residual", f"base={n}m", f"run={n}q", *small["train residual"], "quiet=true"],
        ["distill", "student", f"teacher={n}t", "student=blind", f"run={n}b", *small["distill student"], "quiet=true"],
        ["train", "teacher", f"init={n}t", f"run={n}i", *small["train teacher"], "quiet=true"],
    ]


def furnish(here: Path, made: Path, name: str) -> None:
    """What a chain begins with."""
    table = Path(__file__).parents[2] / "configs/reproduce/nkd_uskd.yaml"
    shutil.copytree(made / "runs/teacher_peg_hole", here / f"{name}t")
    shutil.copytree(made / "runs/depth_cnn_peg_hole", here / f"{name}s")
    shutil.copy(table, here / f"{name}y.yaml")


def test_a_nasty_name_goes_through_the_verbs(embodkd: Callable, made: Path, tmp_path: Path, small) -> None:
    furnish(tmp_path, made, NASTY)
    for words in chain(NASTY, small)[:7]:
        answer = embodkd(*words)
        assert answer.code == 0, (words, answer.err)


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_every_name_goes_through_all_verbs(
    embodkd: Callable, made: Path, tmp_path: Path, small, name: str, count_case: Callable
) -> None:
    furnish(tmp_path, made, name)
    for words in chain(name, small):
        answer = embodkd(*words)
        assert answer.code == 0, (words, answer.err)
        count_case("commands on odd names")


def test_under_the_locale_c(made: Path, tmp_path: Path) -> None:
    furnish(tmp_path, made, "größe \U0001f916")
    done = under_the_locale_c(tmp_path, [["report", "größe \U0001f916t"]])
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "größe \U0001f916t/report.html").is_file()


@pytest.mark.faults
def test_all_verbs_under_the_locale_c(made: Path, tmp_path: Path, small, count_case: Callable) -> None:
    furnish(tmp_path, made, NASTY)
    commands = chain(NASTY, small)
    done = under_the_locale_c(tmp_path, commands)
    assert done.returncode == 0, done.stderr.decode()
    # what they made is named as in any other locale
    for made_there in ("e.json", "v.mp4", "h.html", "c/model", "x.onnx", "r/demos", "m/policy", "q/policy"):
        assert (tmp_path / f"{NASTY}{made_there}").exists(), made_there
    count_case("commands under LC_ALL=C", len(commands))


def under_the_locale_c(here: Path, commands: list[list[str]]) -> subprocess.CompletedProcess[bytes]:
    """Commands one after the other in a process of that locale, until one fails; its words are decoded there."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    program = (
        "import json, sys\n"
        "from embodkd.cli import main\n"
        "for words in map(json.loads, sys.argv[1:]):\n"
        "    if code := main(words):\n"
        "        sys.exit(f'{code} of {ascii(words)}')\n"
    )
    words = [json.dumps(command, ensure_ascii=False) for command in commands]
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=here, env={**environment, "LC_ALL": "C"}, capture_output=True)


def test_a_sweep_makes_folders_that_the_verbs_take(embodkd: Callable, tmp_path: Path) -> None:
    words = ["data=digits", "run=runs/swept", "budget.updates=2", "quiet=true"]
    assert embodkd("train", "teacher", "-m", "seed=0,1", *words).code == 0
    taught = ["teacher=runs/swept/seed=0", "run=runs/student", "budget.updates=2", "quiet=true"]
    assert embodkd("distill", "student", "data=digits", *taught).code == 0
    assert embodkd("compare", "policy=runs/swept/seed=0", "against=runs/swept/seed=1").code == 0
    for words in (["evaluate", "runs/swept/seed=0"], ["report", "runs/swept/seed=0"]):
        assert embodkd(*words).code == 0


def test_a_sweep_over_long_paths_has_folders_of_a_usual_length(embodkd: Callable, tmp_path: Path) -> None:
    teachers = [f"runs/{letter * 200}" for letter in "ab"]
    for teacher in teachers:
        assert embodkd("train", "teacher", "data=digits", f"run={teacher}", "budget.updates=2", "quiet=true").code == 0
    swept = f"teacher={','.join(teachers)}"
    words = ["distill", "student", "-m", "data=digits", swept, "seed=0,1", "run=s", "budget.updates=1", "quiet=true"]
    assert embodkd(*words).code == 0
    made = [len(run.folder.name) for run in read_study(tmp_path / "s").runs]
    assert len(made) == 4 and max(made) < 200

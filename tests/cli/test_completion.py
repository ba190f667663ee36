"""Completion knows verbs, nouns, keys, groups and their options, and the scripts that ask for them work."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from embodkd.cli.completion import SCRIPTS, candidates
from embodkd.cli.keys import options
from embodkd.cli.verbs import VERBS


def test_first_words_are_the_verbs() -> None:
    assert set(candidates([""])) == {v.words[0] for v in VERBS}
    assert candidates(["ev"]) == ["evaluate"]
    assert candidates(["train", ""]) == ["teacher", "residual"]


def test_groups_offer_their_files() -> None:
    for group in ("task", "engine", "ppo"):
        assert candidates(["train", "teacher", f"{group}="]) == [f"{group}={o}" for o in options(group)]
    assert candidates(["distill", "student", "student=de"]) == ["student=depth_cnn"]


def test_keys_follow_the_choices_made_before() -> None:
    assert "student.sample=" in candidates(["distill", "student", "student=pointnet", "student."])
    assert "student.sample=" not in candidates(["distill", "student", "student="])
    assert candidates(["train", "teacher", "+task.rand"]) == ["+task.randomness="]


def test_a_key_that_chooses_another_form_of_a_verb_is_offered_and_followed() -> None:
    assert candidates(["train", "teacher", "da"]) == ["data="]
    assert candidates(["train", "teacher", "data="]) == [f"data={o}" for o in options("data")]
    assert "budget=" in candidates(["train", "teacher", "data=digits", ""])
    assert "task=" not in candidates(["train", "teacher", "data=digits", ""])
    assert "task=" in candidates(["train", "teacher", ""])


def test_tables_are_offered_by_slug() -> None:
    assert "slug=nkd_uskd" in candidates(["reproduce", "slug=n"])


def test_an_empty_word_offers_top_keys_only() -> None:
    offered = candidates(["train", "teacher", ""])
    assert "seed=" in offered and "task=" in offered
    assert not [word for word in offered if "." in word]


def test_switches_offer_true_and_false() -> None:
    assert candidates(["evaluate", "probe="]) == ["probe=false", "probe=true"]


def test_methods_are_offered_by_name() -> None:
    assert {"bc", "dagger"} <= set(candidates(["methods", "show", ""]))


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_valid_in_their_shell(embodkd, shell: str) -> None:
    script = embodkd("completion", shell).out
    assert "embodkd __complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    assert subprocess.run([shell, "-n"], input=script, text=True, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("embodkd ev", ["evaluate"]),
        ("embodkd train teacher task=pi", ["pick_lift"]),
        ("embodkd train teacher task=hand_lift task.obj", ["task.object="]),
    ],
)
def test_bash_completes_what_is_typed(tmp_path: Path, line: str, expected: list[str]) -> None:
    command = tmp_path / "embodkd"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m embodkd.cli "$@"\n')
    command.chmod(0o755)
    ask = f'{SCRIPTS["bash"]}\ncompopt() {{ :; }}\nCOMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}\n_embodkd\n'
    ask += 'printf "%s\\n" "${COMPREPLY[@]}"'
    path = f"{tmp_path}:/usr/bin:/bin"
    child = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, env={"PATH": path})
    assert child.stdout.split() == expected, child.stderr

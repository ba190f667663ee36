"""Help costs nothing and tells the truth."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from embodkd.cli.help import of_verb, overview
from embodkd.cli.keys import Config, comments, options
from embodkd.cli.verbs import VERBS, after, find

WORDS = [["--help"], ["train", "--help"], ["--version"], ["__complete", "train", "teacher", "task="]]
WORDS += [[*v.words, "--help", *([f"{v.given}="] if v.given else [])] for v in VERBS]
HEAVY = ("torch", "mujoco", "hydra", "omegaconf", "numpy", "gymnasium", "stable_baselines3")
CHILD = (
    "import sys; from embodkd.cli import main; code = main(sys.argv[1:]); "
    f"found = [m for m in {HEAVY!r} if m in sys.modules]; sys.exit(f'imported {{found}}' if found else code)"
)


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_help_and_completion_import_nothing_heavy(words: list[str]) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD, *words], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip()


@pytest.mark.parametrize("words", [["--help"], ["distill", "student", "--help"], ["__complete", "tr"]], ids=" ".join)
def test_help_and_completion_take_at_most_0_4_cpu_seconds(words: list[str]) -> None:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    costs = []
    for _ in range(3):
        before = spent()
        subprocess.run([sys.executable, "-m", "embodkd.cli", *words], check=True, capture_output=True)
        costs.append(spent() - before)
    assert min(costs) <= 0.4


def test_help_follows_the_key_that_chooses_the_form_and_names_the_other(embodkd) -> None:
    plain, data = (embodkd("train", "teacher", *words).out for words in (["--help"], ["data=digits", "--help"]))
    assert "task=hand_lift" in plain and "train teacher --help data=digits|" in plain and "budget=" not in plain
    assert "budget=default" in data and "task=" not in data.partition("keys")[2] and "train teacher --help\n" in data


def test_the_overview_names_every_verb() -> None:
    assert all(f"  {v.title}" in overview() for v in VERBS)


@pytest.mark.parametrize("verb", [v for v in VERBS if v.config], ids=lambda v: v.title)
def test_verb_help_shows_every_key_and_every_choice(verb) -> None:
    text = of_verb(verb, [])
    config = Config(verb.config)
    assert all(f"  {key}=" in text for key in config.top())
    for group in config.groups():
        assert all(option in text for option in options(group))


def test_verb_help_follows_the_choice_that_stands_behind_it() -> None:
    verb, _ = find(["distill", "student"])
    assert verb is not None
    assert "student.sample" in of_verb(verb, ["student=pointnet"])
    assert "student.sample" not in of_verb(verb, [])


@pytest.mark.parametrize("verb", [v for v in VERBS if v.config], ids=lambda v: v.title)
def test_keys_that_are_not_obvious_are_explained(verb) -> None:
    said = comments(Config(verb.config).file)
    obvious = {"seed", "copies", "episodes"}
    unexplained = [k for k, v in Config(verb.config).top().items() if not said[k] and k not in obvious]
    assert not [k for k in unexplained if not isinstance(Config(verb.config).top()[k], dict)]


def test_a_verb_without_its_noun_lists_the_nouns(embodkd) -> None:
    assert embodkd("train").code == 2
    assert "train teacher" in embodkd("train", "--help").out
    assert after(["train"]) == ("teacher", "residual")

"""The tutorials, step by step: every command and every piece of Python works after those before it, only smaller."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
LESS = {
    "data.digits": "1",
    "data.train": "30",
    "data.test": "6",
    "model.width": "16",
    "model.depth": "1",
    "budget.updates": "4",
    "budget.optimiser.learning_rate": "0.02",
}
TEACHER = {**LESS, "budget.updates": "100"}
"""One that is right at times, and wrong at times."""
QUICK = ["data.validation=6", "budget.batch_size=10", "torch_threads=1", "quiet=true"]
BRIEF = [
    *("data.train=8", "data.validation=2", "data.test=2", "data.longest=4", "model.width=16"),
    *("budget.updates=2", "budget.batch_size=4", "torch_threads=1", "quiet=true"),
]


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, content) of each block of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def smaller(command: str) -> list[str]:
    """The words of a command with less of everything that takes time."""
    program, *words = shlex.split(command)
    assert program == "embodkd"
    if "data=tones" in words:
        given = {word.partition("=")[0] for word in BRIEF}
        return [*(word for word in words if word.partition("=")[0] not in given), *BRIEF]
    less = TEACHER if words[0] == "train" else LESS
    for place, word in enumerate(words):
        key = word.partition("=")[0]
        words[place] = f"{key}={less[key]}" if key in less else word
    return [*words, *(QUICK if "data=sums" in words else [])]


def followed(page: str, embodkd: Any) -> None:
    """Do what a page says."""
    for language, block in blocks(page):
        if language == "python":
            exec(compile(block, page, "exec"), {})
            continue
        for command in block.strip().splitlines():
            answer = embodkd(*smaller(command))
            assert answer.code == 0, f"{command}: {answer.err}"


def made(report: Path) -> str:
    """The table of a report that shows what models made."""
    [table] = re.findall(r'<table class="made".*?</table>', report.read_text(encoding="utf-8"), flags=re.DOTALL)
    return table


def test_from_nothing_to_a_language_model_that_transformers_loads(
    embodkd: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="extra language is not installed")
    followed("tutorial-language.md", embodkd)
    assert "38+47?" in capsys.readouterr().out
    runs = tmp_path / "runs/sums"
    assert all((runs / name / "evaluation_samples/samples.json").is_file() for name in ("teacher", "redi", "right"))
    table = made(runs / "report.html")
    assert table.count('<th scope="row">') == 6 and table.count("right</small>") + table.count("wrong</small>") == 18


def test_from_nothing_to_a_model_that_speaks_and_is_heard(
    embodkd: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scipy.io import wavfile

    followed("tutorial-speech.md", embodkd)
    frames = re.findall(r"\d+", capsys.readouterr().out.rpartition("frames of each phoneme:")[2])
    rate, sound = wavfile.read(tmp_path / "abdefgh.wav")
    assert len(frames) == 7 and rate == 8000 and len(sound) == 128 * sum(map(int, frames))
    table = made(tmp_path / "runs/tones/report.html")
    # two sentences, each as the voice, the teacher and two students say it
    assert table.count('<th scope="row">') == 2 and table.count("<audio") == table.count("<img") == 8


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("tutorial-*.md")))
def test_what_a_tutorial_names_is_there_and_it_shows_python(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.findall(r"`(docs/[\w-]+\.md)`", text)
    assert named and all((DOCS.parent / file).is_file() for file in named)
    assert "python" in {language for language, _ in blocks(page)}

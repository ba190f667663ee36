"""The tutorials, step by step: every command and every piece of Python works after those before it, only smaller."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/tutorial-language.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
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


def smaller(command: str) -> list[str]:
    """The words of a command with less of everything that takes time."""
    program, *words = shlex.split(command)
    assert program == "embodkd"
    less = TEACHER if words[0] == "train" else LESS
    for place, word in enumerate(words):
        key = word.partition("=")[0]
        words[place] = f"{key}={less[key]}" if key in less else word
    return [*words, *(QUICK if "data=sums" in words else [])]


def test_from_nothing_to_a_language_model_that_transformers_loads(
    embodkd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="extra language is not installed")
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "docs/tutorial-language.md", "exec"), {})
            assert "38+47?" in capsys.readouterr().out
            continue
        for command in block.strip().splitlines():
            answer = embodkd(*smaller(command))
            assert answer.code == 0, f"{command}: {answer.err}"
    runs = tmp_path / "runs/sums"
    page = (runs / "report.html").read_text(encoding="utf-8")
    assert all((runs / name / "evaluation_samples/samples.json").is_file() for name in ("teacher", "redi", "right"))
    [table] = re.findall(r'<table class="made".*?</table>', page, flags=re.DOTALL)
    assert table.count('<th scope="row">') == 6 and table.count("right</small>") + table.count("wrong</small>") == 18
    assert "python" in {language for language, _ in BLOCKS}


def test_what_the_tutorial_names_is_there() -> None:
    root = Path(__file__).parents[2]
    assert all((root / file).is_file() for file in re.findall(r"`(docs/[\w-]+\.md)`", PAGE))

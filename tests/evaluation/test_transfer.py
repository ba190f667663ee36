"""The matrix has one evaluation per policy and engine, on the same seeds."""

from __future__ import annotations

import json
from pathlib import Path

import embodkd.envs
import pytest
from coin import Coin, guesser, knower

from embodkd.evaluation import transfer


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict]]:
    asked: list[tuple[str, dict]] = []

    def make(name: str, num_envs: int, **options: object) -> Coin:
        asked.append((name, options))
        return Coin(num_envs)

    monkeypatch.setattr(embodkd.envs, "make_task", make)
    return asked


def test_every_policy_is_judged_in_every_engine_with_the_same_options(engines, tmp_path: Path) -> None:
    matrix = transfer({"a": knower(), "b": guesser()}, "coin", {"side": 1}, episodes=30, quiet=True)
    assert [options for _, options in engines] == [{"side": 1, "engine": e} for e in ("mujoco", "bullet")] * 2
    assert matrix.cells["a", "bullet"].success_rate == 1.0
    assert matrix.cells["b", "mujoco"].outcomes == matrix.cells["b", "bullet"].outcomes
    cells = json.loads(matrix.save(tmp_path).read_text())["cells"]
    assert [(cell["policy"], cell["engine"]) for cell in cells] == list(matrix.cells)
    assert str(matrix).count("100.0 %") == 2 and "judged in bullet" in str(matrix)


def test_no_policy_is_an_error() -> None:
    with pytest.raises(ValueError, match="no policy"):
        transfer({}, "peg_hole")

"""The comparison of two commits: it sees every difference, takes no clock for one, and knows every method."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.same import differences
from benchmarks.same_runs import TABLE, chosen, commands, needed
from embodkd.core.runs.files import write_tensors
from embodkd.methods import METHODS, get_method, method_names

ONE = np.array([1, 2], np.float32)


def made(
    run: Path, weights: torch.Tensor | np.ndarray, loss: float = 0.5, success: bool = True, time: float = 1.0
) -> Path:
    (run / "policy").mkdir(parents=True)
    write_tensors(run / "policy/model.safetensors", {"weight": weights, "fixed": torch.ones(2)})
    (run / "metrics.jsonl").write_text(json.dumps({"step": 1, "time_s": time, "student/ce": loss}) + "\n")
    (run / "evaluation.json").write_text(json.dumps({"per_episode": [{"seed": 0, "success": success}], "date": time}))
    return run


def test_equal_runs_are_equal_whatever_the_clock_says(tmp_path: Path) -> None:
    nan = torch.tensor([float("nan"), 1.0])
    assert differences(made(tmp_path / "a", nan), made(tmp_path / "b", nan, time=9.0)) == []


@pytest.mark.parametrize("kept_as", [torch.from_numpy, np.asarray], ids=["tensor", "array"])
def test_the_last_bit_of_a_weight_is_a_difference(tmp_path: Path, kept_as) -> None:  # type: ignore[no-untyped-def]
    one, other = (kept_as(values) for values in (ONE, np.nextafter(ONE, np.float32(9))))
    assert differences(made(tmp_path / "c", one), made(tmp_path / "d", one)) == []
    (said,) = differences(made(tmp_path / "a", one), made(tmp_path / "b", other))
    assert "1 of 2 tensors differ, by at most 2.38e-07" in said


@pytest.mark.parametrize("change", [{"loss": 0.25}, {"success": False}])
def test_losses_and_outcomes_are_compared_too(tmp_path: Path, change: dict) -> None:
    assert differences(made(tmp_path / "a", torch.ones(2)), made(tmp_path / "b", torch.ones(2), **change))


def test_a_side_without_weights_is_not_equal_to_another_without(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert differences(tmp_path / "a", tmp_path / "b") == ["the first left no weights"]


def test_a_file_that_only_the_later_side_writes_moves_nothing_but_one_that_is_gone_does(tmp_path: Path) -> None:
    one, other = (made(tmp_path / name, torch.ones(2)) for name in ("a", "b"))
    (other / "examples.safetensors").write_bytes(next(other.glob("**/*.safetensors")).read_bytes())
    assert differences(one, other) == []
    assert differences(other, one) == ["examples.safetensors: only in the first"]


def domains() -> dict[str, str]:
    return {name: METHODS.metadata(name)["domain"] for name in method_names() if get_method(name)}


def test_every_registered_method_has_a_run() -> None:
    runs = commands(domains())
    said = set(re.findall(r"method=(\w+)", " ".join(runs.values()))) | set(re.findall(r"{name: (\w+)", TABLE))
    # what a verb does without being told: distill from a teacher, from demonstrations, from a data set
    assert set(domains()) - said <= {"dagger", "chunk_bc"} and {"dagger", "diffusion"} <= runs.keys()


def test_every_command_is_one_of_the_command_line_s() -> None:
    from embodkd.cli.overrides import parse
    from embodkd.cli.verbs import find

    for name, command in commands(domains()).items():
        verb, rest = find(shlex.split(command))
        assert verb is not None, name
        parse(verb, [*rest, f"run=runs/{name}", "quiet=true"])


def test_a_run_stands_below_all_that_it_needs() -> None:
    runs = commands(domains())
    names = list(runs)
    assert "robust_teacher" in needed(runs["mtard"], runs) and needed(runs["supervised"], runs) == []
    assert all(names.index(other) < names.index(name) for name in names for other in needed(runs[name], runs))
    assert list(chosen(runs, ["residual_student"])) == ["demos", "mlp_chunk", "residual_td3", "residual_student"]

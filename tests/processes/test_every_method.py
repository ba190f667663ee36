"""Every registered method by the command line makes on two processes the student that it makes on one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import every_method
import pytest
import torch
from furnish import furnished
from launch import launch
from safetensors.torch import load_file

from embodkd.methods import method_names

pytest.importorskip("pyarrow", reason="needs pyarrow (extra: lerobot)")
# one fixture makes all that one process makes, another all that two make
pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]
COMMANDS = every_method.every()
MADE = [name for name in COMMANDS if name not in every_method.JUDGED]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder that one process filled, and its answers."""
    folder = furnished(tmp_path_factory.mktemp("one"))
    with contextlib.chdir(folder):
        return folder, every_method.carried_out()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that two processes filled, and the answers of each."""
    folder = furnished(tmp_path_factory.mktemp("two"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # for the benchmarks, which are not installed
        with launch(folder, str(Path(every_method.__file__))) as started:
            code, _, err = started.end(900)
    assert code == 0, err[-3000:]
    return folder, [json.loads((folder / f"answers_{rank}.json").read_text()) for rank in (0, 1)]


def test_no_method_is_left_out():
    assert set(method_names()) - COMMANDS.keys() == {"diswot"}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_one_process_does_two_do_with_one_voice(one, two, name):
    alone, (first, second) = one[1][name], (answers[name] for answers in two[1])
    assert alone["code"] == 0 == first["code"] == second["code"], (alone, first, second)
    assert first["out"] and (second["out"], second["err"]) == ("", "")


@pytest.mark.parametrize("name", MADE)
def test_two_processes_make_the_student_that_one_makes(one, two, name):
    alone, together = (
        load_file(next((where / "runs" / name).glob("*/model.safetensors"))) for where in (one[0], two[0])
    )
    assert alone.keys() == together.keys()
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-9, atol=1e-11, msg=key)

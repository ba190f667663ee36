"""A model whose parameters come and go learns on two processes what it learns on one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import growing_child
import pytest
import torch
from launch import launch

CORE = Path(__file__).parents[1] / "core"


@pytest.mark.slow
def test_two_processes_grow_the_model_that_one_grows(tmp_path, monkeypatch):
    alone = growing_child.grown(tmp_path / "alone")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(CORE), os.environ.get("PYTHONPATH", "")]))
    with launch(tmp_path, str(Path(growing_child.__file__))) as started:
        code, _, err = started.end()
    assert code == 0, err[-3000:]
    first, second = (json.loads((tmp_path / f"grown_{rank}.json").read_text()) for rank in (0, 1))
    assert first == second and len(first["heights"]) > 4
    for name, value in alone.items():
        torch.testing.assert_close(torch.tensor(first[name]), torch.tensor(value), rtol=1e-9, atol=1e-11, msg=name)

"""A model whose parameters come and go learns on two processes what it learns on one."""

from __future__ import annotations

import json

import growing_child
import torch
from forks import fork_ranks


def test_two_processes_grow_the_model_that_one_grows(tmp_path):
    alone = growing_child.grown(tmp_path / "alone")
    code, said = fork_ranks(tmp_path, growing_child.answer)
    assert code == 0, said[-3000:]
    first, second = (json.loads((tmp_path / f"grown_{rank}.json").read_text()) for rank in (0, 1))
    assert first == second and len(first["heights"]) > 4
    for name, value in alone.items():
        torch.testing.assert_close(torch.tensor(first[name]), torch.tensor(value), rtol=1e-9, atol=1e-11, msg=name)

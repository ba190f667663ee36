"""One process with the whole batch, two that share it, pieces one after the other: the same losses and weights.

The two processes are started once for all methods; shared.py is what they run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from forks import fork_ranks
from rows import ROWS
from safetensors.torch import load_file
from shared import IN_PIECES, TRIALS, main, trained, uncovered

from embodkd.core.runs.files import read_tensors

every_trial = pytest.mark.parametrize("name", TRIALS)
# what makes each of these need the whole batch at once: a term, a layer, a player (a new method may be left out)
WHOLE = {
    **{name: row.whole for name, row in ROWS.items() if row.whole},
    "bc": r"layer 'look\.1'",
    "dagger": r"layer 'look\.1'",
    "kd batch norm, dropout": "layer",
    "uskd mixup": "target_label",
    "rkd batch norm": "layer",
    "nd dist": "layer|correlation",
    "tgeo_kd batch norm": "layer",
    "hard mix": "a blend of images",
    "hard latent": "agreement",
    "kd3 contrast": "layer",
    "diswot similarity": "layer",
    "supervised pairs": "pair_contrast",
    "tinyclip via": "affinity",
    "tinyclip automatic": "affinity",
}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes filled."""
    folder = tmp_path_factory.mktemp("together")
    code, said = fork_ranks(folder, lambda: main(str(folder)), limit_s=400)
    assert code == 0, said[-3000:]
    return folder


@pytest.fixture(scope="module")
def alone() -> dict[str, dict[str, torch.Tensor]]:
    """What one process makes of each trial, once."""
    return {name: trained(name) for name in TRIALS}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-11, msg=lambda m, key=key: f"{key}: {m}")


def test_every_method_is_tried() -> None:
    assert not uncovered()


@every_trial
def test_two_processes_train_what_one_does(name: str, together: Path, alone: dict[str, dict]) -> None:
    assert any(value.is_floating_point() and value.numel() > 1 for value in alone[name].values())
    same(load_file(together / f"{name} 1.safetensors"), alone[name])


@pytest.mark.parametrize("name", IN_PIECES)
def test_two_processes_with_two_pieces_each_train_what_one_does(
    name: str, together: Path, alone: dict[str, dict]
) -> None:
    same(load_file(together / f"{name} 2.safetensors"), alone[name])


@every_trial
def test_a_batch_in_pieces_is_the_same_update_or_an_error_that_names_what_needs_it_whole(
    name: str, alone: dict[str, dict]
) -> None:
    try:
        found = trained(name, 3)
    except ValueError as error:
        assert re.search(r"trainer\.accumulate", str(error)) and re.search(WHOLE.get(name, ""), str(error)), str(error)
    else:
        assert name not in WHOLE
        same(found, alone[name])


def test_processes_that_begin_with_other_weights_are_given_the_first_ones(together: Path) -> None:
    first, second = (json.loads((together / f"told_{rank}.json").read_text())["unlike"] for rank in (0, 1))
    assert first == second


def test_a_loss_that_is_not_a_number_in_one_process_ends_all_of_them_with_the_batch_saved(together: Path) -> None:
    first, second = (json.loads((together / f"told_{rank}.json").read_text())["broken"] for rank in (0, 1))
    assert all("term 'ce'" in said and "update 0" in said for said in (first, second))
    (file,) = (together / "run").rglob("batch.safetensors")
    assert read_tensors(file)["input"].shape == (16, 6)

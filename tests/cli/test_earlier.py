"""A run that an earlier version began goes on from its checkpoint, or is refused by name with what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# `embodkd` + WORDS, stopped after 8 of its 16 updates
EARLIER = Path(__file__).parent / "earlier/run"
WORDS = ["train", "teacher", "data=digits", "data.train=32", "data.validation=16", "model.hidden=[4]"]
WORDS += ["budget.epochs=4", "budget.batch_size=8", "trainer.checkpoint_s=0", "trainer.log_every=1"]
WORDS += ["torch_threads=1", "quiet=true"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(EARLIER, tmp_path / "earlier_run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_earlier_run_goes_on_and_ends_as_one_of_today(here: Path, embodkd) -> None:
    known = (here / "earlier_run/metrics.jsonl").read_text().splitlines()
    assert embodkd(*WORDS, "run=earlier_run", "resume=true").code == 0
    assert embodkd(*WORDS, "run=whole").code == 0
    resumed, whole = (load_file(here / run / "model/model.safetensors") for run in ("earlier_run", "whole"))
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-6, msg=name)
    lines = (here / "earlier_run/metrics.jsonl").read_text().splitlines()
    assert lines[: len(known)] == known and json.loads(lines[-1])["step"] == 16


def test_with_another_network_it_is_refused_by_name(here: Path, embodkd) -> None:
    answer = embodkd(*WORDS, "model.hidden=[5]", "run=earlier_run", "resume=true")
    assert answer.code == 2 and len(answer.err.splitlines()) == 1
    assert "model.hidden" in answer.err and "earlier_run: was made with another config" in answer.err


def test_a_checkpoint_of_another_form_is_refused_by_name(here: Path, embodkd) -> None:
    """As one of a version before its position was kept would be."""
    file = here / "earlier_run/checkpoints/step_8/state.json"
    facts = json.loads(file.read_text())
    del facts["state"]["position"]
    file.write_text(json.dumps(facts))
    file.with_name("state.json.sha256").unlink()
    answer = embodkd(*WORDS, "run=earlier_run", "resume=true")
    assert answer.code == 2 and "position" in answer.err and "remove the folder and start anew" in answer.err

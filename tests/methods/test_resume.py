"""Every registered method, and its variants, goes on bit for bit from wherever it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shared import TRIALS
from toy import fingerprint, signalled, stops_until

from embodkd.core import RunFolder, Trainer
from embodkd.core.engine.members import learning_modules
from embodkd.core.runs.stopping import Stopped


@pytest.mark.parametrize("name", TRIALS)
def test_stopped_and_resumed_equals_uninterrupted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: str | None) -> bytes:
        torch.manual_seed(11)
        # The models of a resumed process are new ones, whatever their former state.
        recipe = TRIALS[name]()
        if folder is None:
            Trainer(None, seed=3, quiet=True).fit(recipe)
        else:
            with RunFolder.open(tmp_path / folder, {}, resume=True) as opened:
                Trainer(opened, seed=3, quiet=True, checkpoint_s=0.0).fit(recipe)
        return b"".join(map(fingerprint, learning_modules(recipe)))

    with signalled(Trainer, "_update", at=0) as updates:
        whole = run("whole")
    assert whole == run(None)
    # within an epoch, by a signal
    with signalled(Trainer, "_update", at=len(updates) // 2 + 1), pytest.raises(Stopped, match=r"update \d+: stopped"):
        run("asked")
    assert run("asked") == whole
    # and at every checkpoint
    assert stops_until(whole, lambda: run("broken"), monkeypatch, most=200) >= 1

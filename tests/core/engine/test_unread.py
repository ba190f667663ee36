"""A bad loss that lies on a card is found before anything is made of it, and nothing has moved since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from card import CARD, Waits, card, on_the_cpu
from torch import nn

from embodkd.core import Optimiser, Player, Role, RunFolder, TensorData, Trainer, cross_entropy, fit
from embodkd.core.runs.files import read_tensors


class OnCard(Trainer):
    @property
    def device(self) -> torch.device:
        return CARD


def lesson(where: str, optimiser: str, bad_at: int) -> tuple[nn.Module, Any]:
    """(student, recipe): 12 updates, of which the one with item `bad_at` gives a loss or gradient that is no number."""
    torch.manual_seed(0)
    student = nn.Linear(4, 3)
    data = TensorData({"input": torch.randn(60, 4), "label": torch.randint(3, (60,)), "sample_id": torch.arange(60)})

    def terms(batch: Any, s: Any) -> dict[str, torch.Tensor]:
        bad_N = (batch.sample_id_N == bad_at).float()
        ce_N = cross_entropy(s.logits_NC, batch.label_N)
        if where == "term":
            return {"ce": ce_N, "odd": torch.where(bad_N > 0, torch.nan, 0.0)}
        # sqrt(0) is finite and its slope is not
        return {"ce": ce_N, "odd": (s.logits_NC.square().sum(1) * (1.0 - bad_N)).sqrt()}

    player = Player(Role(student), terms, optimiser=Optimiser(optimiser, 0.1, max_grad_norm=1.0))
    return student, fit(player, data, batch_size=5)


def until(where: str, optimiser: str, update: int) -> list[torch.Tensor]:
    """The weights after so many updates, on the CPU."""
    student, recipe = lesson(where, optimiser, -1)
    kept: list[list[torch.Tensor]] = []

    class Kept(Trainer):
        def _update(self, *given: Any) -> None:
            kept.append([p.detach().clone() for p in student.parameters()])
            super()._update(*given)

    Kept(quiet=True).fit(recipe)
    return kept[update]


def place_of(item: int) -> int:
    """The update that shows it."""
    seen: list[bool] = []

    class Looks(Trainer):
        def _update(self, stage: Any, learners: Any, index: Any, *given: Any) -> None:
            seen.append(item in index)
            super()._update(stage, learners, index, *given)

    Looks(quiet=True).fit(lesson("term", "adam", -1)[1])
    return seen.index(True)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("where", ["term", "gradient"])
def test_it_names_update_and_term_keeps_the_batch_and_the_weights_before_it(
    where: str, optimiser: str, tmp_path: Path
) -> None:
    item = 13
    at = place_of(item)
    assert 0 < at < 11  # there are good updates before it, and more to do behind it
    with card(), RunFolder.open(tmp_path / "run", {}) as run:
        student, recipe = lesson(where, optimiser, item)
        said = "term 'odd'" if where == "term" else "the gradient"
        with pytest.raises(FloatingPointError, match=f"update {at}: player 'student': {said} is not finite.*bad_batch"):
            OnCard(run, quiet=True, checkpoint_s=0.0, log_every=12).fit(recipe)
        found = [on_the_cpu(p) for p in student.parameters()]
        for a, b in zip(found, until(where, optimiser, at), strict=True):
            torch.testing.assert_close(a, b)
    assert not list((tmp_path / "run" / "checkpoints").glob("step_*"))
    saved = read_tensors(tmp_path / "run" / "bad_batch" / "batch.safetensors")
    assert item in saved["sample_id"].tolist() and saved["input"].shape == (5, 4)
    assert json.loads((tmp_path / "run" / "bad_batch" / "where.json").read_text())["update"] == at


def test_numbers_are_read_when_they_are_logged_and_not_later_than_that() -> None:
    class Told(OnCard):
        def _update(self, *given: Any) -> None:
            with waits.watched():
                super()._update(*given)

    with card() as waits:
        assert isinstance(waits, Waits)
        Told(quiet=True, log_every=6).fit(lesson("term", "adam", -1)[1])
    # the first update is logged, too
    assert sum(what.endswith("unread.py look") for what in waits.found) == 3

"""The curve of a learner: which updates it is asked after, what is made of the figures, which state is the best one."""

import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from embodkd.core import Budget, Context, Optimiser, Player, Recipe, Role, RunFolder, TensorData, Trainer, cross_entropy
from embodkd.core.runs.stopping import Stopped
from embodkd.parts.players.learning_curve import LearningCurve


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator)
    return TensorData({"input": x, "label": (x.sum(1) > 0).long(), "sample_id": torch.arange(40)})


def context(update):
    return Context(None, 0, torch.device("cpu"), update)


class Stubborn(nn.Module):
    """It says class 1 of so many items of `data`."""

    def __init__(self):
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.0))

    def forward(self, x):
        label = data().fields["label"]
        right = torch.arange(len(x)) < (self.share * len(x)).round()
        return torch.nn.functional.one_hot(torch.where(right, label, 1 - label), 2).float()


def curve(percents, total, **options):
    """A curve that saw these, evenly."""
    student = Stubborn()
    made = LearningCurve(student, data(), total, len(percents), **options)
    for percent, update in zip(percents, made.update_K, strict=True):
        with torch.no_grad():
            student.share.fill_(percent / 100)
        assert made(context(int(update))) == {"validation/accuracy": percent}
    return student, made


@given(st.integers(1, 300), st.integers(0, 50), st.floats(0, 1))
def test_stages_share_the_evaluations_out_and_the_last_one_ends_training(total, evaluations, share):
    made = LearningCurve(Stubborn(), data(), total, evaluations)
    border = round(share * total)
    found = [
        first + at
        for first, last in ((0, border), (border, total))
        for every in made.every(first, last)
        for at in every.updates
    ]
    assert found == sorted(set(found)) == made.update_K.tolist() and len(found) == min(evaluations, total)
    assert not evaluations or (found[-1] == total and np.diff([0, *found]).max() <= -(-total // len(found)) + 1)


def test_the_area_is_the_mean_of_the_first_three_tenths():
    _, made = curve([10.0, 20.0, 60.0, 90.0, 70.0, 80.0, 75.0, 50.0, 60.0, 65.0], 100)
    assert made.verdict(context(100)) == {"area": pytest.approx(30.0), "final": 65.0, "best": 90.0}
    _, made = curve([40.0, 50.0], 2)
    assert made.verdict(context(2)) == {"area": 40.0, "final": 50.0, "best": 50.0}


def test_the_first_of_the_best_states_comes_back_and_a_repeated_step_changes_nothing():
    student, made = curve([10.0, 75.0, 50.0, 75.0], 4, keep_best=True)
    for percent, update in ((50.0, 3), (75.0, 4)):  # as after a resume
        with torch.no_grad():
            student.share.fill_(percent / 100)
        made(context(update))
    with torch.no_grad():
        made.best.share.add_(0.001)  # to tell it from what the student is now
    assert made.verdict(context(4)) == {"area": 10.0, "final": 75.0, "best": 75.0}
    assert student.share.item() == pytest.approx(0.751)


def recipe():
    """A linear student judged after every second of twelve updates."""
    torch.manual_seed(0)
    student = nn.Linear(3, 2)
    made = LearningCurve(student, data(), 12, 6, keep_best=True)

    def terms(batch, s):
        return {"ce": cross_entropy(s.logits, batch.label_N)}

    player = Player(Role(student), terms, helpers={"curve": made}, optimiser=Optimiser("sgd", 0.3))
    stage = Budget(updates=12, batch_size=8).stage(player, data(), every=made.every(0, 12))
    return Recipe((stage, made.verdict), student), made


def test_a_run_that_was_stopped_ends_with_the_same_curve_and_state(tmp_path, monkeypatch):
    whole, seen = recipe()
    told = Trainer(quiet=True, seed=1).fit(whole).last
    again, curve_again = recipe()
    asked = curve_again.forward

    def stops(context):
        found = asked(context)
        if context.update == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(curve_again, "forward", stops)
    with RunFolder.open(tmp_path / "run", {}) as run, pytest.raises(Stopped):
        Trainer(run, quiet=True, seed=1).fit(again)
    last, curve_last = recipe()
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        found = Trainer(run, quiet=True, seed=1).fit(last).last
    assert torch.equal(curve_last.percent_K, seen.percent_K) and (seen.percent_K > 0).all()
    assert all(found[name] == told[name] for name in ("area", "final", "best"))
    for name, value in whole.product.state_dict().items():
        assert torch.equal(value, last.product.state_dict()[name])

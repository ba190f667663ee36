"""Parameters come and go while they learn: those that stay keep their moments, and a run goes on to the bit."""

import numpy as np
import pytest
import torch
from growth import Bumps, curve, densify, train
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from toy import Stopped, fingerprint, stops_until

from embodkd.core import Group, Optimiser, Player, Recipe, Role, RunFolder, TensorData, Trainer, fit, regrown, schedule
from embodkd.core.engine.moments import carried
from embodkd.core.engine.update import Learner
from embodkd.core.precision import Precision


def row_lists(count):
    return st.lists(st.integers(-1, count - 1), min_size=1, max_size=5)


@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_moments_follow_their_rows_through_any_number_of_changes(data, count, changes, held):
    """Whichever of the parameters in between the optimiser has seen last."""
    line = [nn.Parameter(torch.arange(2.0 * count).view(count, 2))]
    ids = [[*range(count)]]  # of each parameter's rows, the row that it was in the one that is held; None: new since
    for k in range(changes):
        rows = data.draw(row_lists(len(line[-1])))
        line.append(regrown(line[-1], torch.tensor(rows)))
        ids.append([None if row < 0 else ids[-1][row] for row in rows])
        if k + 1 == min(held, changes):
            ids[-1] = [*range(len(rows))]
    seen = line[min(held, changes)]
    moment = torch.randn(seen.shape)
    found = carried({seen: {"step": torch.tensor(3.0), "exp_avg": moment}}, [line[-1]])[line[-1]]
    wanted = [[0.0, 0.0] if row is None else moment[row].tolist() for row in ids[-1]]
    assert found["exp_avg"].tolist() == wanted and found["step"] == 3.0


def test_strangers_have_no_moments_and_those_that_left_are_forgotten():
    stayed, left, stranger = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    former = {stayed: {"exp_avg": torch.ones(2)}, left: {"exp_avg": torch.ones(2)}}
    assert carried(former, [stranger, stayed]).keys() == {stayed}
    copy = regrown(left, torch.tensor([1]))
    del left, former
    assert not carried({stayed: {}}, [copy])


def learner(model, optimiser, total=20, **player):
    return Learner(Player(Role(model), dict, optimiser=optimiser, **player), torch.device("cpu"), precision(), total)


def precision():
    return Precision("no", torch.device("cpu"))


def test_each_bump_moves_as_if_it_had_an_adam_of_its_own():
    """Against Adam written out for single bumps; a new one has no moments and the clock of the others."""
    model, slopes = Bumps(), torch.Generator().manual_seed(1)
    work = learner(model, Optimiser("adam", 0.05))
    own = [{"at": c, "m": torch.zeros_like(c), "v": torch.zeros_like(c)} for c in model.centres.detach().clone()]
    for step in range(1, 13):
        work.start(step)
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=slopes, dtype=p.dtype)
        for bump, g in zip(own, model.centres.grad, strict=True):
            bump["m"] = 0.9 * bump["m"] + 0.1 * g
            bump["v"] = 0.999 * bump["v"] + 0.001 * g * g
            by = (bump["v"] / (1 - 0.999**step)).sqrt() + 1e-8
            bump["at"] = bump["at"] - 0.05 * bump["m"] / (1 - 0.9**step) / by
        work.step()
        assert not work.look_again()
        torch.testing.assert_close(model.centres.detach(), torch.stack([bump["at"] for bump in own]))
        if step % 4 == 0:
            rows = torch.tensor([2, -1, 0, 1, -1])
            new = torch.randn(2, 2, generator=slopes, dtype=torch.float64)
            model.regrow(rows, {"centres": new})
            fresh = iter({"at": c, "m": torch.zeros_like(c), "v": torch.zeros_like(c)} for c in new)
            own = [dict(own[row]) if row >= 0 else next(fresh) for row in rows.tolist()]
            assert work.look_again()


def test_what_freezing_leaves_learns_on_as_before():
    """Of two layers that do not meet, one is fixed halfway: the other goes its way, to the bit."""

    def after(freeze):
        torch.manual_seed(0)
        model = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)})
        work, slopes = learner(model, Optimiser("adamw", 0.1, weight_decay=0.1)), torch.Generator().manual_seed(1)
        for step in range(6):
            if step == 3 and freeze:
                model["a"].requires_grad_(False)
                assert work.look_again() and not work.look_again()
                halfway = fingerprint(model["a"])
            work.start(step)
            for p in model.parameters():
                slope = torch.randn(p.shape, generator=slopes)
                p.grad = slope if p.requires_grad else None
            work.step()
        assert not freeze or fingerprint(model["a"]) == halfway
        return fingerprint(model["b"])

    assert after(True) == after(False)


def test_rates_of_groups_follow_theirs_and_the_schedule():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    rate, warm = schedule({"shape": "cosine", "start": 0.1}), schedule({"shape": "linear", "start": 0.0, "end": 2.0})
    groups = (Group("0.*", rate=warm), Group("*.bias", rate=3.0))
    work = learner(model, Optimiser("sgd", rate, groups=groups, layer_decay=0.5))
    for step in range(20):
        work.start(step)
        assert work.rate == rate.at(step, 20)
        found = {p: group["lr"] for group in work.optimiser.param_groups for p in group["params"]}
        # three layers in a row are three blocks, with nothing behind them
        for place, layer in enumerate(model):
            own = [warm.at(step, 20)] * 2 if place == 0 else [1.0, 3.0]
            for p, factor in zip((layer.weight, layer.bias), own, strict=True):
                assert found[p] == rate.at(step, 20) * (0.5 ** (3 - place) * factor)


def frozen_later(model):
    """Densify; from the second time on, the level stays where it is."""
    inner = densify(model)

    def step(context):
        if int(model.age.max()) >= 1:
            model.level.requires_grad_(False)
        return inner(context)

    return step


def test_a_run_stopped_at_any_checkpoint_of_a_model_that_grows_and_freezes_ends_with_the_same_bits(
    tmp_path, monkeypatch
):
    """Two updates an epoch, a step every three: most checkpoints lie between two changes."""
    groups = (Group("centres", rate=0.5), Group("helper.*", rate=2.0))

    def run(folder):
        model = Bumps()  # as it was when the recipe was written
        helper = nn.Linear(1, 1, dtype=torch.float64)
        torch.nn.init.constant_(helper.weight, 0.5)
        torch.nn.init.constant_(helper.bias, 0.1)
        optimiser = Optimiser("adam", 0.05, groups=groups, max_grad_norm=1.0)
        recipe = curve(model, epochs=5, optimiser=optimiser, helpers={"scale": helper})
        with RunFolder.open(folder, {}, resume=True) as opened:
            train(recipe, frozen_later(model), opened)
        return fingerprint(model)

    whole = run(tmp_path / "whole")
    assert len(whole) > len(fingerprint(Bumps()))
    assert stops_until(whole, lambda: run(tmp_path / "broken"), monkeypatch, 20) == 5
    regrow, calls = Bumps.regrow, []

    def regrow_and_die(self, *arguments):
        regrow(self, *arguments)
        calls.append(len(calls) + 1)
        if len(calls) in (1, 3, 5):
            raise Stopped

    monkeypatch.undo()
    monkeypatch.setattr(Bumps, "regrow", regrow_and_die)
    for _ in range(3):  # in the first, second and third step: the checkpoint is of before it
        with pytest.raises(Stopped):
            run(tmp_path / "died")
    assert run(tmp_path / "died") == whole and calls[-1] == 6


class Sorted(TensorData):
    """The rows of a batch in one order, whatever the order of the pass: sums are then rounded alike."""

    def gather(self, index, epoch):
        return super().gather(np.sort(index), epoch)


def two_stages(model, first, second, keep, between=None, optimiser=None):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    source = Sorted({"input": x, "target": x[:, :2].sin()})

    def terms(batch, s):
        return {"error": (s.logits_NC - batch["target"]).square().sum(1)}

    def stage(updates, **player):
        given = optimiser or Optimiser("adam", 0.05)
        player = Player(Role(model), terms, optimiser=given, **player)
        return fit(player, source, updates_per_round=updates, batch_size=8).stages[0]

    stages = [stage(first, keep_moments=keep), *([between] if between else []), *([stage(second)] if second else [])]
    return Recipe(tuple(stages), model)


def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def ended(model, recipe, run=None):
    Trainer(run, quiet=True, checkpoint_s=0.0).fit(recipe)
    return fingerprint(model)


def test_two_stages_that_keep_their_moments_are_one():
    for optimiser in (Optimiser("adam", 0.05), Optimiser("sgd", 0.05), Optimiser("adamw", 0.05, weight_decay=0.1)):
        whole = ended(model := linear(), two_stages(model, 8, 0, False, optimiser=optimiser))
        kept = ended(model := linear(), two_stages(model, 4, 4, True, optimiser=optimiser))
        fresh = ended(model := linear(), two_stages(model, 4, 4, False, optimiser=optimiser))
        assert kept == whole and fresh != whole


def test_kept_moments_are_found_by_a_run_that_stops_at_any_checkpoint(tmp_path, monkeypatch):
    """At the boundary of the stages, after the step between them, and inside the second one."""

    def run(folder):
        model = Bumps()
        first, second = curve(model, keep_moments=True), curve(model)
        recipe = Recipe((*first.stages, densify(model), *second.stages), model)
        with RunFolder.open(folder, {}, resume=True) as opened:
            train(recipe, None, opened)
        return fingerprint(model)

    whole = run(tmp_path / "whole")
    assert stops_until(whole, lambda: run(tmp_path / "broken"), monkeypatch, 30) == 4 + 1 + 4
    model = Bumps()
    forgetful = Recipe((*curve(model).stages, densify(model), *curve(model).stages), model)
    train(forgetful)
    assert fingerprint(model) != whole

"""During a pass every part of a model is in the mode that its role says, and afterwards as its owner left it.

Over every registered model and policy, each with a batch norm and a dropout of its own behind it.
"""

import pytest
import torch
from every_network import ANSWERS, NAMES, trunk_and_batch
from torch import nn
from toy import fingerprint

from embodkd.core import Role, Signals
from embodkd.core.modules.modes import evaluating, learning


class Headed(nn.Module):
    """A trunk and a head that was put on later, whose dropout and batch statistics are its own."""

    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.reads = trunk, trunk.reads
        self.head = nn.Sequential(nn.Linear(ANSWERS, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, ANSWERS))

    def forward(self, x):
        answer = self.trunk(x)
        logits = answer if isinstance(answer, torch.Tensor) else answer["logits"]
        return self.head(logits[:, -1] if logits.ndim == 3 else logits)


def modes(*models):
    return [module.training for model in models for module in model.modules()]


def note_modes(model):
    """A list that gets, at each pass, the set of modes in which the parts of `model` run."""
    seen, now = [], set()
    for module in model.modules():
        module.register_forward_pre_hook(lambda part, _: now.add(part.training))

    def end(*_):
        seen.append(set(now))
        now.clear()

    model.register_forward_hook(end)
    return seen


@pytest.mark.parametrize("part", ["frozen", "passthrough", "snapshot"])
@pytest.mark.parametrize("name", NAMES)
def test_a_head_added_to_an_evaluated_trunk_is_frozen_with_it(name, part):
    trunk, batch = trunk_and_batch(name)
    model = Headed(trunk.eval()).eval()
    model.head.train()
    role, before, former = Role(model, part), fingerprint(model), modes(model)
    assert torch.equal(role.signals(batch)["logits"], role.signals(batch)["logits"])
    assert fingerprint(model) == before and modes(model) == former and len(set(former)) == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_and_a_frozen_judge_on_one_trunk_keep_their_modes_in_turn(name):
    trunk, batch = trunk_and_batch(name)
    learner, judge = Headed(trunk), Headed(trunk)
    roles, former = (Role(learner), Role(judge, "frozen")), modes(learner, judge)
    alone = modes(trunk)
    seen = note_modes(trunk)
    for role in roles * 2:
        role.signals(batch)
    assert [True in now for now in seen] == [True in alone, False] * 2
    assert modes(learner, judge) == former


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_runs_as_its_owner_left_it(name):
    trunk, batch = trunk_and_batch(name)
    model = Headed(trunk.eval()).train()
    model.trunk.eval()
    former, still = modes(model), fingerprint(trunk)
    outside = fingerprint(model.head)
    Role(model).signals(batch)
    assert modes(model) == former and fingerprint(trunk) == still and fingerprint(model.head) != outside


@pytest.mark.parametrize("name", NAMES)
def test_a_learner_in_evaluation_mode_is_trained_and_put_back(name):
    trunk, batch = trunk_and_batch(name)
    model = Headed(trunk).eval()
    outside = fingerprint(model.head)
    Role(model).signals(batch)
    assert not any(modes(model)) and fingerprint(model.head) != outside
    inside = fingerprint(model.head)
    Role(model, mode="eval").signals(batch)
    assert fingerprint(model.head) == inside


def test_parts_added_after_eval_answer_alike():
    model = nn.Sequential(nn.Linear(8, 16)).eval()
    model.append(nn.BatchNorm1d(16)).append(nn.Dropout(0.5))
    role, batch, before = Role(model, "frozen"), Signals({"input": torch.randn(9, 8)}), fingerprint(model)
    assert torch.equal(role.signals(batch)["logits"], role.signals(batch)["logits"]) and fingerprint(model) == before
    # and parts that come later still
    model.append(nn.Dropout(0.5))
    assert torch.equal(role.signals(batch)["logits"], role.signals(batch)["logits"])


def test_modes_come_back_when_a_pass_fails():
    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    for context, former in ((evaluating, [True, False, True]), (learning, [False, False, True])):
        model = nn.Sequential(Broken(), nn.Dropout())
        for module, mode in zip(model.modules(), former, strict=True):
            module.training = mode
        with pytest.raises(RuntimeError, match="broken"), context(model):
            model(torch.zeros(1))
        assert modes(model) == former


def test_a_module_that_never_trains_by_its_own_word_does_not():
    class Never(nn.Dropout):
        def train(self, mode=True):
            return super().train(False)

    model = nn.Sequential(Never().train(), nn.Linear(2, 2)).eval()
    seen = note_modes(model[0])
    Role(model).signals(Signals({"input": torch.ones(3, 2)}))
    assert seen == [{False}] and not any(modes(model))

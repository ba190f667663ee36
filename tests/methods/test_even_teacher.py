"""Self-distillation guided by labels: its loss, its rounds, the estimate of the share."""

import copy

import pytest
import torch
from rows import C, blobs, budget, small
from torch import nn
from toy import fingerprint

from embodkd.core import Context, Role, Stage, Succession, Trainer, collect
from embodkd.methods import get_method
from embodkd.parts.self_distillation.best_share import best_share

EvenTeacher = get_method("even_teacher")
CONTEXT = Context(None, 0, torch.device("cpu"))


def student(seed=0):
    torch.manual_seed(seed)
    return small()


def recipe(model, data=None, epochs=2, seed=5, **options):
    return EvenTeacher(**options).recipe(model, None, data or blobs(), seed=seed, budget=budget(epochs))


def stages(found):
    return [stage for stage in found.stages if isinstance(stage, Stage)]


def train(found, seed=0):
    return Trainer(quiet=True, seed=seed).fit(found)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_one_update_of_a_later_round_is_plain_torch(alpha):
    """Double precision, one batch: mean over batch and classes of the squares, plus the lengths of all tensors."""
    data = blobs()
    fields = {n: v.double() if v.is_floating_point() else v for n, v in data.train.fields.items()}
    data.train._fields.update(fields)
    model, former = student().double(), student(1).double()
    twin = copy.deepcopy(model)
    stage = stages(recipe(model, data, rounds=2, alpha=alpha, decay=0.01))[-1]
    stage.players[0].given["t"].model.load_state_dict(former.state_dict())
    one = budget(1, batch_size=48).stage(stage.players, data.train)
    train(type(recipe(model))((one,), model))
    p, teacher = (m(fields["input"])["logits"].softmax(1) for m in (twin, former))
    loss = alpha * (p - torch.eye(C)[fields["label"]]).square().mean()
    loss = loss + (1 - alpha) * (p - teacher.detach()).square().mean()
    (loss + 0.01 * sum(w.square().sum().sqrt() for w in twin.parameters())).backward()
    torch.optim.Adam(twin.parameters(), 0.01).step()
    for moved, expected in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-9)


def test_the_first_round_is_the_same_whatever_the_share_is():
    """It learns from labels alone, and a share of 1 with the former self unheard is the same fit again."""
    found = [train_first(alpha) for alpha in (0.0, 0.5, None)]
    assert found[0] == found[1] == found[2]


def train_first(alpha):
    model = student()
    plan = recipe(model, rounds=2, alpha=alpha)
    train(type(plan)(plan.stages[:1], model))
    return fingerprint(model)


def test_each_round_is_taught_by_the_last_one_and_starts_anew():
    model, seen = student(), []
    plan = recipe(model, rounds=4, alpha=0.3)
    former = stages(plan)[1].players[0].given["t"].model

    def watched(step):
        def call(context):
            before = fingerprint(model)
            step(context)
            seen.append((before, fingerprint(former), fingerprint(model)))

        return call

    plan = type(plan)(tuple(s if isinstance(s, Stage) else watched(s) for s in plan.stages), model)
    train(plan)
    assert len(seen) == 3
    assert all(before == teacher for before, teacher, _ in seen)
    assert len({start for *_, start in seen} | {fingerprint(student())}) == 4
    assert fingerprint(former) == seen[-1][1] != fingerprint(model)


def test_a_round_may_start_from_the_first_weights_again():
    model = student()
    first = fingerprint(model)
    step = Succession(model, None, start="first")
    with torch.no_grad():
        model.classifier.weight.zero_()
    step(CONTEXT)
    assert fingerprint(model) == first


def test_the_estimate_is_the_best_share_between_the_two_extreme_students():
    model, data = student(), blobs()
    plan = recipe(model, data, rounds=2, epochs=20)
    assert [stage.name for stage in stages(plan)] == ["round_1", "pure", "round_2"]
    plain = stages(plan)[1].players[0].given["t"].model
    answers = {}

    def watch(context):
        for name, m in (("plain", plain), ("pure", model)):
            answers[name] = collect(Role(copy.deepcopy(m), "frozen"), data.validation).logits_NC.softmax(1).double()

    before = plan.stages.index(stages(plan)[1]) + 1
    watched = type(plan)((*plan.stages[:before], watch, *plan.stages[before:]), model)
    said = train(watched).last["alpha"]
    label = torch.eye(C, dtype=torch.float64)[data.validation.fields["label"]]
    assert said == pytest.approx(best_share(answers["plain"], answers["pure"], label), abs=1e-6)
    assert 0.0 <= said <= 1.0
    assert float(stages(plan)[2].players[0].weights.alpha) == pytest.approx(said)


def test_the_former_self_keeps_its_batch_statistics():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, C))
    plan = recipe(model, rounds=2, alpha=0.5)
    former = stages(plan)[1].players[0].given["t"].model
    taught = []
    step = plan.stages[1]

    def watched(context):
        step(context)
        taught.append(fingerprint(former))

    train(type(plan)((plan.stages[0], watched, plan.stages[2]), model))
    assert fingerprint(former) == taught[0]


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="rounds: must be at least 1"):
        EvenTeacher(rounds=0)
    with pytest.raises(ValueError, match=r"alpha: must lie in \[0, 1\]"):
        EvenTeacher(alpha=1.5)

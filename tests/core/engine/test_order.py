"""Who is asked sees the answers before its own; an answer is asked for once; a step within a stage comes in time."""

import pytest
import torch
from torch import nn

from embodkd.core import (
    Asked,
    Every,
    Optimiser,
    Player,
    Role,
    RunFolder,
    Stage,
    TensorData,
    Trainer,
    cross_entropy,
    fit,
    squared_error,
)
from embodkd.core.recipe import Recipe


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def data(n=12):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    return TensorData({"input": x, "label": (x[:, 0] > 0).long()})


def train(recipe, run=None, **options):
    return Trainer(run, quiet=True, **options).fit(recipe)


class Counted(nn.Module):
    """A network that knows how often it was called, and on what."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls = inner, []

    def forward(self, x):
        self.calls.append(x)
        return self.inner(x)


class Noted:
    """An answerer that notes what it is shown."""

    def __init__(self):
        self.names, self.values = [], {}

    def signals(self, batch):
        from embodkd.core import Signals

        self.names.append(list(batch))
        self.values = dict(batch)
        return Signals({"echo": batch["input"].sum(1)})


def near(batch, s, **given):
    return {"ce": cross_entropy(s.logits_NC, batch.label_N)}


def test_answers_come_in_order_and_each_sees_the_former_ones_and_the_scheduled_numbers():
    a, b, c = Noted(), Noted(), Noted()
    player = Player(
        Role(network()), near, given={"a": a, "b": b, "c": c}, first=("c",), scheduled={"heat": 0.5, "number": "update"}
    )
    train(fit(player, data(), batch_size=4))
    plain = ["input", "label", "sample_id", "heat", "number"]
    assert c.names == [plain] * 3
    assert a.names == [[*plain, "c.echo", "s.logits"]] * 3
    assert b.names == [[*plain, "c.echo", "s.logits", "a.echo"]] * 3
    assert b.values["number"].tolist() == [2.0] * 4 and b.values["heat"].tolist() == [0.5] * 4


def test_a_student_reads_its_teachers_answer_and_equals_one_that_was_handed_it():
    teacher, with_order, by_hand = network(1), nn.Linear(2, 2), nn.Linear(2, 2)
    by_hand.load_state_dict(with_order.state_dict())
    source = data()
    answers = teacher(source.fields["input"]).detach()
    player = Player(Role(with_order, view="t.logits"), near, given={"t": Role(teacher, "frozen")}, first=("t",))
    train(fit(player, source, epochs=3, batch_size=4))
    handed = TensorData({**source.fields, "input": answers})
    train(fit(Player(Role(by_hand), near), handed, epochs=3, batch_size=4))
    torch.testing.assert_close(with_order.weight, by_hand.weight, rtol=1e-6, atol=1e-7)


def test_gradient_flows_through_an_answerer_that_reads_the_student():
    student, critic = network(), nn.Linear(2, 1)
    before, fixed = student.weight.detach().clone(), critic.weight.detach().clone()

    def terms(batch, s, c):
        return {"score": c.score_NO.squeeze(1)}

    player = Player(Role(student), terms, given={"c": Role(critic, "passthrough", view="s.logits", output="score")})
    train(fit(player, data(), batch_size=12))
    assert not student.weight.equal(before) and critic.weight.equal(fixed)


def test_a_frozen_teacher_is_asked_once_per_batch_by_however_many_players_in_whatever_order():
    teacher = Counted(network(5))
    t = Role(teacher, "frozen")

    def terms(batch, s, t):
        return {"near": squared_error(s.logits_NC, t.logits_NC)}

    for in_turn in (False, True):
        teacher.calls.clear()
        players = [Player(Role(network(k)), terms, given={"t": t}, name=f"p{k}") for k in range(3)]
        train(fit(players, data(), batch_size=4, in_turn=in_turn))
        assert len(teacher.calls) == 3


def test_a_frozen_teacher_that_reads_the_student_is_asked_by_each_student_anew():
    judge = Counted(nn.Linear(2, 2))
    j = Role(judge, "frozen", view="s.logits")

    def terms(batch, s, j):
        return {"near": squared_error(s.logits_NC, j.logits_NC)}

    players = [Player(Role(network(k)), terms, given={"j": j}, name=f"p{k}") for k in range(2)]
    train(fit(players, data(), batch_size=12))
    assert len(judge.calls) == 2 and not judge.calls[0].equal(judge.calls[1])


def test_players_in_turn_ask_a_learner_again_after_it_has_moved():
    learner = Counted(network())
    role = Role(learner)

    def follow(batch, s, other):
        return {"near": squared_error(s.logits_NC, other.logits_NC)}

    players = [
        Player(role, near, name="leader", optimiser=Optimiser("sgd", 0.5, momentum=0.0)),
        Player(Role(network(3)), follow, given={"other": role}, name="follower"),
    ]
    for in_turn, calls in ((False, 1), (True, 2)):
        learner.calls.clear()
        train(fit(players, data(), batch_size=12, in_turn=in_turn))
        assert len(learner.calls) == calls


def test_a_part_of_the_rows_is_asked_for_and_the_rest_is_zero():
    source, teacher = data(), Counted(network(2))
    asked_N = torch.arange(12) % 3 == 0
    batch = TensorData({**source.fields, "mine": asked_N}).gather(torch.arange(12).numpy(), 0)
    role = Role(teacher, "frozen")
    found = Asked(role, "mine").signals(batch)["logits"]
    assert [len(x) for x in teacher.calls] == [4]
    expected = role.signals(batch)["logits"]
    assert found[asked_N].equal(expected[asked_N]) and not found[~asked_N].any()
    nobody = Asked(role, "mine").signals(batch.merge(mine=torch.zeros(12)))["logits"]
    assert nobody.shape == expected.shape and not nobody.any()


def test_what_is_asked_for_a_part_still_belongs_to_its_player():
    student, twin = network(), network(4)
    asked = Asked(Role(twin, "ema", follow=student, decay=0.5), "label")
    before = twin.weight.detach().clone()

    def terms(batch, s, m):
        return {"near": squared_error(s.logits_NC, m.logits_NC)}

    train(fit(Player(Role(student), terms, given={"m": asked}), data(), batch_size=12))
    assert not twin.weight.equal(before)


def test_a_logged_term_is_said_and_teaches_nothing():
    def terms(batch, s):
        return {**near(batch, s), "size": s.logits_NC.square().sum(1)}

    alone, logging = network(), network()
    train(fit(Player(Role(alone), near), data(), epochs=2, batch_size=4))
    summary = train(fit(Player(Role(logging), terms, logged=("size",)), data(), epochs=2, batch_size=4), log_every=1)
    assert logging.weight.equal(alone.weight) and summary.last["student/size"] > 0
    with pytest.raises(ValueError, match="logged: player 'student' has no term 'sise'.*'size'"):
        train(fit(Player(Role(network()), terms, logged=("sise",)), data()))
    with pytest.raises(ValueError, match="nothing to learn from"):
        train(fit(Player(Role(network()), terms, logged=("size", "ce")), data()))


class Steps:
    """Notes the weight of a model, in a file where there is a run."""

    def __init__(self, model, name):
        self.model, self.name, self.seen = model, name, []

    def __call__(self, context):
        self.seen.append(self.model.weight.detach().clone())
        return {f"{self.name}/size": float(self.model.weight.detach().norm())}


def test_steps_within_a_stage_come_after_every_kth_update_and_what_they_say_is_logged(tmp_path):
    model = network()
    often, rare = Steps(model, "often"), Steps(model, "rare")
    stage = Stage([Player(Role(model), near)], data(), epochs=7, batch_size=6, every=[Every(2, often), Every(5, rare)])
    with RunFolder.open(tmp_path / "run", {}) as run:
        train(Recipe((stage,), model), run, checkpoint_s=1e9)
    assert len(often.seen) == 7 and len(rare.seen) == 2
    assert often.seen[-1].equal(model.weight) and often.seen[4].equal(rare.seen[1])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum("often/size" in line for line in lines) == 7
    with pytest.raises(ValueError, match="updates must be at least 1"):
        Every(0, often)


def test_first_names_must_be_given():
    with pytest.raises(ValueError, match="first: it is given no 'tt'.*'t'"):
        Player(Role(network()), near, given={"t": Role(network(), "frozen")}, first=("tt",))


class Passes(TensorData):
    """Says with each item which pass it is of."""

    def gather(self, index, epoch):
        return super().gather(index, epoch).merge(epoch=torch.full((len(index),), epoch))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ({"epochs": 3}, [0, 0, 0, 1, 1, 1, 2, 2, 2]),
        ({"updates_per_round": 8}, [0, 0, 0, 1, 1, 1, 2, 2]),
        ({"updates_per_round": 4, "rounds": 2}, [0, 0, 0, 1, 2, 2, 2, 3]),
        ({"epochs": 2, "rounds": 2}, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]),
    ],
)
def test_a_source_is_told_which_pass_over_it_this_is_however_the_length_is_said(stage, expected):
    seen = []

    def terms(batch, s):
        seen.append(int(batch["epoch"][0]))
        assert (batch["epoch"] == seen[-1]).all()
        return near(batch, s)

    train(fit(Player(Role(network()), terms), Passes(data().fields), batch_size=4, **stage))
    assert seen == expected


def test_gathering_ahead_changes_no_bit():
    weights = []
    for prefetch in (0, 3):
        model = network()
        train(fit(Player(Role(model), near), data(), epochs=3, batch_size=5), prefetch=prefetch, accumulate=2)
        weights.append(model.weight)
    assert weights[0].equal(weights[1])

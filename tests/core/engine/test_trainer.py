"""The trainer makes exactly the planned updates, whatever the pieces, leaves teachers alone, and stops before harm."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from toy import fingerprint

from embodkd.core import (
    Optimiser,
    Player,
    Recipe,
    Role,
    RunFolder,
    Source,
    Stage,
    TensorData,
    Trainer,
    cosine,
    cross_entropy,
    fit,
    kl,
    linear,
    squared_error,
    staircase,
)
from embodkd.core.engine.members import learning_modules
from embodkd.core.runs.files import read_tensors


def network(seed=0, width=8):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))


def data(n=50):
    generator = torch.Generator().manual_seed(9)
    return TensorData({"input": torch.randn(n, 4, generator=generator), "label": torch.arange(n) % 3})


def distillation(student, teacher, **player):
    def terms(batch, s, t):
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": kl(s.logits_NC, t.logits_NC)}

    return Player(Role(student), terms, given={"t": Role(teacher, "frozen")}, **player)


def train(recipe, run=None, **options):
    return Trainer(run, quiet=True, **options).fit(recipe)


def test_updates_are_exactly_as_many_as_planned():
    seen = []

    def terms(batch, s):
        seen.append(batch.items_count)
        return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

    summary = train(fit(Player(Role(network()), terms), data(), epochs=3, batch_size=20))
    assert seen == [20, 20, 10] * 3 and summary.updates == 9


def test_one_update_equals_plain_torch():
    student, teacher, reference = network(0), network(1), network(0)
    recipe = fit(
        distillation(student, teacher, optimiser=Optimiser("sgd", 0.1, momentum=0.0), weights={"kd": 0.5}),
        data(),
        batch_size=50,
    )
    train(recipe)
    batch = data().gather(np.arange(50), 0)
    logits = reference(batch.input)
    p = teacher(batch.input).softmax(1).detach()
    kd = (p * (p.log() - logits.log_softmax(1))).sum(1).mean()
    (nn.functional.cross_entropy(logits, batch.label) + 0.5 * kd).backward()
    for parameter, expected in zip(student.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(parameter.detach(), expected.detach() - 0.1 * expected.grad)


@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_accumulation_does_not_change_the_result(pieces):
    results = []
    for accumulate in (1, pieces):
        student = network().double()
        source = TensorData(
            {
                "input": torch.randn(50, 4, generator=torch.Generator().manual_seed(1)).double(),
                "label": torch.arange(50) % 3,
            }
        )
        player = distillation(
            student,
            network(1).double(),
            weights={"kd": lambda b, s, t: b.label.double()},
            optimiser=Optimiser("sgd", 0.1, max_grad_norm=1.0),
        )
        train(fit(player, source, epochs=4, batch_size=20), accumulate=accumulate)
        results.append(torch.cat([p.detach().flatten() for p in student.parameters()]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


def test_a_frozen_teacher_is_byte_identical_and_in_no_checkpoint():
    student = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    teacher = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    before = fingerprint(teacher)
    recipe = fit(distillation(student, teacher), data(), epochs=3, batch_size=16)
    train(recipe)
    assert fingerprint(teacher) == before
    assert [p.requires_grad for p in teacher.parameters()] == [True] * 6 and all(
        p.grad is None for p in teacher.parameters()
    )
    assert learning_modules(recipe) == [student]


def test_an_ema_teacher_moves_with_its_student_and_is_checkpointed():
    student, average = network(), network()
    before = fingerprint(average)
    player = Player(
        Role(student),
        lambda b, s, t: {"kd": kl(s.logits_NC, t.logits_NC), "ce": cross_entropy(s.logits_NC, b.label_N)},
        given={"t": Role(average, "ema", follow=student, decay=0.5)},
    )
    recipe = fit(player, data(), epochs=2, batch_size=10)
    train(recipe)
    assert fingerprint(average) != before and learning_modules(recipe) == [student, average]


def test_learning_rate_follows_its_schedule(tmp_path):
    rate = cosine(1e-2, 1e-4, warmup=3)
    player = distillation(network(), network(1), optimiser=Optimiser("adam", rate))
    with RunFolder.open(tmp_path / "run", {}) as run:
        train(fit(player, data(), epochs=4, batch_size=20), run, log_every=1)
        rates = [row["student/learning_rate"] for row in run.metrics()]
    assert rates == pytest.approx([rate.at(k, 12) for k in range(12)])


def test_weights_follow_their_schedules_and_zero_weight_is_the_baseline():
    weighted, baseline = network(), network()
    train(fit(distillation(weighted, network(1), weights={"kd": 0.0}), data(), epochs=2, batch_size=20))
    plain = Player(Role(baseline), lambda b, s: {"ce": cross_entropy(s.logits_NC, b.label_N)})
    train(fit(plain, data(), epochs=2, batch_size=20))
    assert fingerprint(weighted) == fingerprint(baseline)
    annealed = network()
    train(fit(distillation(annealed, network(1), weights={"kd": linear(1.0, 0.0)}), data(), epochs=2, batch_size=20))
    assert fingerprint(annealed) != fingerprint(baseline)


def test_numbers_inside_terms_follow_their_schedules_whatever_the_pieces():
    seen = []

    def terms(batch, s):
        seen.append(batch.heat_N.clone())
        return {"ce": cross_entropy(s.logits_NC / batch.heat_N[:, None], batch.label_N)}

    def weight(batch, s):
        return batch.share_N

    def player(model):
        scheduled = {"heat": linear(4.0, 1.0), "share": 0.5}
        return Player(Role(model), terms, weights={"ce": weight}, scheduled=scheduled)

    models = network(), network()
    train(fit(player(models[0]), data(), epochs=2, batch_size=25))
    assert [h.tolist() for h in seen] == [[v] * 25 for v in (4.0, 3.0, 2.0, 1.0)]
    train(fit(player(models[1]), data(), epochs=2, batch_size=25), accumulate=2)
    for whole, pieces in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(whole, pieces, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match=r"scheduled.heat: unknown key 'begin'"):
        Player(Role(network()), terms, scheduled={"heat": {"begin": 1.0}})


def test_ascent_climbs():
    model = network()
    terms = lambda b, s: {"ce": cross_entropy(s.logits_NC, b.label_N)}  # noqa: E731
    log = [train(fit(Player(Role(model), terms, ascent=True), data(), epochs=e, batch_size=50)).last for e in (1, 30)]
    assert log[1]["student/ce"] > log[0]["student/ce"]


def test_helpers_learn_and_are_checkpointed_but_are_not_the_product():
    student, head = network(), nn.Linear(8, 3)
    before = fingerprint(head)

    def terms(batch, s):
        return {"weak": cross_entropy(head(s.hidden_ND), batch.label_N)}

    recipe = fit(Player(Role(student, taps={"hidden": "1"}), terms, helpers={"head": head}), data(), batch_size=20)
    train(recipe)
    assert fingerprint(head) != before and learning_modules(recipe) == [student, head] and recipe.product is student
    # The last layer takes no part in this objective: it has no gradient, and stays.
    assert torch.equal(student[2].weight, network()[2].weight)


def test_every_and_in_turn():
    calls = []

    def player(name, every):
        def terms(batch, s):
            calls.append(name)
            return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

        return Player(Role(network()), terms, every=every, name=name)

    train(fit([player("a", 1), player("b", 3)], data(60), batch_size=10, in_turn=True))
    assert calls == ["a", "b", "a", "a", "a", "b", "a", "a"]


@pytest.mark.parametrize("where", ["term", "gradient"])
def test_a_bad_loss_names_the_term_saves_the_batch_and_moves_nothing(tmp_path, where):
    student = network()
    before = fingerprint(student)

    def terms(batch, s):
        bad = (batch.sample_id_N == 13).float()
        if where == "term":
            return {"ce": cross_entropy(s.logits_NC, batch.label_N), "odd": bad * float("nan")}
        # sqrt(0) is finite and its slope is not.
        return {"odd": (s.logits_NC.square().sum(1) * (1 - bad) * 0).sqrt()}

    recipe = fit(Player(Role(student), terms, optimiser=Optimiser(max_grad_norm=1.0)), data(), batch_size=50)
    with RunFolder.open(tmp_path / "run", {}) as run:
        said = "term 'odd'" if where == "term" else "the gradient"
        with pytest.raises(FloatingPointError, match=f"update 0: player 'student': {said} is not finite.*bad_batch"):
            train(recipe, run)
    assert fingerprint(student) == before
    saved = read_tensors(tmp_path / "run" / "bad_batch" / "batch.safetensors")
    assert 13 in saved["sample_id"] and saved["input"].shape == (50, 4)
    assert json.loads((tmp_path / "run" / "bad_batch" / "where.json").read_text())["update"] == 0


def test_steps_without_gradients_run_in_order_and_are_logged(tmp_path):
    student, order = network(), []

    def fill(context):
        order.append(("fill", context.seed, context.folder))
        return {"filled": 3.0}

    recipe = fit(distillation(student, network(1)), data(), batch_size=50)
    recipe = Recipe((fill, *recipe.stages), student).then(lambda context: order.append("after"))
    with RunFolder.open(tmp_path / "run", {}) as run:
        summary = train(recipe, run, seed=4)
    assert order == [("fill", 4, tmp_path / "run"), "after"] and summary.last["filled"] == 3.0


class Counting(Source):
    """Fresh numbers at each refill."""

    def __init__(self, refresh):
        self.refresh, self.refills = refresh, []

    def size(self):
        return 8

    def refill(self, refill):
        self.refills.append(refill)
        return {}

    def gather(self, index, epoch):
        return TensorData(
            {"input": np.full((8, 4), self.refills[-1], np.float32), "label": np.zeros(8, np.int64)}
        ).gather(index, 0)


@pytest.mark.parametrize(("refresh", "refills"), [("never", 1), ("epoch", 3), ("step", 12)])
def test_sources_are_refreshed_as_they_say(refresh, refills):
    source, seen = Counting(refresh), []

    def terms(batch, s):
        seen.append(int(batch.input[0, 0]))
        return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

    train(fit(Player(Role(network()), terms), source, rounds=3, batch_size=4, updates_per_round=4))
    assert source.refills == list(range(refills)) and len(seen) == 12
    assert seen == [k * refills // 12 for k in range(12)]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: fit([], data()), "at least one player"),
        (lambda: fit(distillation(network(), network()), data(), rounds=0), "rounds must be at least 1"),
        (lambda: fit(distillation(network(), network()), Counting("step")), "needs updates_per_round"),
        (lambda: fit(distillation(network(), network()), Counting("steps")), "refresh 'steps' is not one of"),
        (lambda: Player(Role(network(), "frozen"), dict), "must be a .train. role"),
        (lambda: Player(Role(network()), dict, every=0), "every"),
        (lambda: Player(Role(network()), dict, weights={"kd": "high"}), "weights.kd: 'high'"),
        (lambda: Optimiser("adma"), "'adma' is not one of"),
        (lambda: Optimiser(learning_rate={"strat": 1}), "did you mean 'start'"),
        (lambda: Trainer(accumulate=0), "accumulate"),
        (
            lambda: train(fit(distillation(network(), network(), weights={"kdd": 1.0}), data())),
            "no term 'kdd': did you mean 'kd'",
        ),
        (
            lambda: train(fit(Player(Role(network()), lambda b, s: {"x": s.logits_NC}), data())),
            r"one value per item is needed: \(50,\)",
        ),
        (
            lambda: train(fit(Player(Role(network()), lambda b, s: {"x": s.logits_NC.mean()}), data())),
            "one value per item",
        ),
        (lambda: train(fit(Player(Role(network()), lambda b, s: {}), data())), "terms are empty"),
        (lambda: train(fit(Player(Role(nn.Tanh()), lambda b, s: {}), data())), "nothing to train"),
    ],
)
def test_mistakes_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_stairs_over_rounds_are_not_needed_to_know_the_total():
    stage = Stage([distillation(network(), network())], data(50), rounds=2, epochs=3, batch_size=20)
    assert stage.updates() == 2 * 3 * 3 and staircase(1.0).at(5) == 1.0


def test_regression_learns():
    student, teacher = network(0), network(5)
    player = Player(
        Role(student),
        lambda b, s, t: {"fit": squared_error(s.logits_NC, t.logits_NC)},
        given={"t": Role(teacher, "frozen")},
        optimiser=Optimiser("adam", cosine(1e-2, 1e-4)),
    )
    summary = train(fit(player, data(200), epochs=60, batch_size=50))
    assert summary.last["student/fit"] < 0.02


def test_every_pass_over_the_data_has_its_own_order():
    orders = []

    def terms(batch, s):
        orders.append(tuple(batch.sample_id_N.tolist()))
        return {"ce": cross_entropy(s.logits_NC, batch.label_N)}

    recipe = fit(Player(Role(network()), terms), data(), rounds=2, epochs=2, batch_size=50)
    train(Recipe(recipe.stages * 2, recipe.product))
    assert len(orders) == len(set(orders)) == 8 and all(sorted(order) == list(range(50)) for order in orders)
